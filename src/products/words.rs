//! Settings that are names which people gave to something in their tracker, each with the default that its documentation uses.

/// What may be such a name: one line, no space at either end.
pub(crate) const WORD_PATTERN: &str = r"^[^\x00-\x20\x7f-\xa0]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0])?$";

/// A type of such names.
macro_rules! words {
    ($(#[$type_doc:meta])* $type:ident { $($(#[$doc:meta])* $field:ident: $default:literal,)* }) => {
        $(#[$type_doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $type {
            $($(#[$doc])* #[schemars(length(min = 1, max = 64), regex(pattern = $crate::products::words::WORD_PATTERN))] pub $field: String,)*
        }

        impl Default for $type {
            fn default() -> Self {
                $type { $($field: $default.to_owned(),)* }
            }
        }
    };
}
pub(super) use words;
