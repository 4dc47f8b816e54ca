//! Classes: what is kept of a resource.

/// What is kept of a resource's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// The last value is kept and saved.
    #[default]
    State,
    /// The last value is kept in memory; after a restart it is nil.
    Live,
    /// No value is kept: streams get each update, and reading gives nil.
    Event,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 3] = [Class::State, Class::Live, Class::Event];

    /// Its name on the wire and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Class::State => "state",
            Class::Live => "live",
            Class::Event => "event",
        }
    }

    /// The class of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }
}
