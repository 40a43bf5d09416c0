//! The properties, all of them invariants: each is a bit that is set where it is broken, so that a state says of every
//! property whether it held on the way there; and three that are asked of each state by playing its fair future.

use super::driver::Closing;
use super::state::State;
use stateright::Property;

macro_rules! rules {
    ($($name:ident: $text:literal,)+) => {
        /// A property.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rule { $($name,)+ }

        impl Rule {
            /// Its bit.
            pub const fn bit(self) -> u32 {
                1 << self as u32
            }
        }

        /// All of them, for the checker.
        pub fn all() -> Vec<Property<Closing>> {
            vec![$(Property::always($text, |_, state: &State| state.history.broken & Rule::$name.bit() == 0),)+
                Property::always("L1 from here, without further faults, it ends within eight passes and then rests",
                    |model, state| model.future(state).is_some()),
                Property::always("L2 no false halt: from here, without further faults, it closes unless something disagreed",
                    |model, state| model.future(state).is_none_or(|future| model.is_right_end(state, future))),
            ]
        }
    };
}

rules! {
    S1: "S1 validate before write: all five were seen in the pass, and agree",
    S2: "S2 bounded window: at most one write of a process after the source, the bundle or the mapping changed",
    S2Fresh: "S2 fresh looks: source, archive and mapping are read after the last effect before the write they guard",
    S3: "S3 at most one notification per key",
    S3Intent: "S3 an intent is stored before an announcement",
    S4: "S4 order: every earlier step shows as done in the pass",
    S5: "S5 exact attribution",
    S6: "S6 no clobber: the very record and revision that were seen",
    S7: "S7 no early completion",
    S8: "S8 halted absorbs: nothing is written while a halt is stored",
    S9: "S9 nothing is announced while a halt is stored",
    S11: "S11 the stored trace verifies",
    S12: "S12 settled steps stay settled",
    L1Word: "L1 a coordinator's word on the announcement settles the question",
    L2: "L2 no false halt: a halt is stored only where something disagreed",
}
