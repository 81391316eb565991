//! How well a plugin, or a host with all its plugins, does its work.

use crate::lifecycle::PluginState;

/// How well a plugin or a host does its work; the worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// As it should.
    Healthy,
    /// Not all of it works.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl Health {
    /// That of a plugin whose processes are in these states, asleep or not; it is impaired if calls are refused or not
    /// answered.
    pub(crate) fn of_plugin(states: &[(PluginState, bool)], impaired: bool) -> Self {
        let works = |(state, asleep): &&(PluginState, bool)| *state == PluginState::Running || *asleep;
        let working = states.iter().filter(works).count();
        match working {
            0 => Self::Unhealthy,
            _ if impaired || working < states.len() => Self::Degraded,
            _ => Self::Healthy,
        }
    }

    /// That of a host with plugins of this health, critical or not.
    pub(crate) fn of_host(plugins: impl IntoIterator<Item = (Self, bool)>) -> Self {
        let counts = |(health, critical): (Self, bool)| if critical { health } else { health.min(Self::Degraded) };
        plugins.into_iter().map(counts).max().unwrap_or(Self::Healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::Health::*;
    use super::*;

    #[test]
    fn a_plugin_is_as_healthy_as_its_processes() {
        let (runs, sleeps) = ((PluginState::Running, false), (PluginState::Stopped, true));
        let (stopped, waits) = ((PluginState::Stopped, false), (PluginState::Backoff, false));
        let cases: [(&[_], bool, _); 7] = [
            (&[runs], false, Healthy),
            (&[sleeps], false, Healthy),
            (&[runs], true, Degraded),
            (&[runs, waits], false, Degraded),
            (&[waits], false, Unhealthy),
            (&[stopped], false, Unhealthy),
            (&[], false, Unhealthy),
        ];
        for (states, impaired, expected) in cases {
            assert_eq!(Health::of_plugin(states, impaired), expected, "{states:?}, impaired: {impaired}");
        }
    }

    #[test]
    fn a_host_fails_with_what_it_cannot_do_without() {
        assert_eq!(Health::of_host([]), Healthy);
        assert_eq!(Health::of_host([(Healthy, true), (Unhealthy, false)]), Degraded);
        assert_eq!(Health::of_host([(Degraded, true), (Healthy, false)]), Degraded);
        assert_eq!(Health::of_host([(Healthy, false), (Unhealthy, true)]), Unhealthy);
    }
}
