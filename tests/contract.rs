//! The closure HTTP contract: that the sandbox keeps it, that its OpenAPI document says it, and that every fault the sandbox can
//! play does what it says.

mod contract {
    mod client;
    mod document;
    mod faults;
    mod handoffs;
    pub mod openapi;
    mod raw;
    mod records;
    mod restart;
    mod switches;
    mod watching;
}
