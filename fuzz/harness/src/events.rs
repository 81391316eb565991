//! Target `events`: what plugins publish and subscribe to, against lists of all that was published.

mod standing;
mod topics;

use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use arbitrary::{Arbitrary, Unstructured};
use rapace_host::{Events, EventsConfig, Permissions, PluginScope};
use rapace_host_api::events::{Deed, EventsClient, EventsError, HOST_TOPICS};
use rapace_service::{BuiltIn, Error, Services};

use self::standing::{Outcome, Published, Standing};
use self::topics::{Topic, covers, is_topic, refusal_of};

/// The bounds of the host: small, so that all of them are met.
const QUEUE_EVENTS: usize = 4;
const QUEUE_BYTES: usize = 300;
const PAYLOAD_BYTES_MAX: usize = 100;
const SUBSCRIPTIONS_MAX: usize = 3;
/// Deeds of one input.
const ACTS_MAX: usize = 200;

/// What somebody does.
#[derive(Debug)]
enum Act {
    Subscribe(u8, Vec<Topic>),
    Publish(u8, Topic, usize),
    Take(u8),
    Leave(u8),
    Close,
}

impl<'a> Arbitrary<'a> for Act {
    /// Mostly what fills queues; a host closes once.
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.int_in_range(0..=31)? {
            0 => Self::Close,
            1..=3 => Self::Leave(u.arbitrary()?),
            4..=9 => Self::Subscribe(u.arbitrary()?, u.arbitrary()?),
            10..=15 => Self::Take(u.arbitrary()?),
            // Some of them are too large.
            _ => Self::Publish(u.arbitrary()?, u.arbitrary()?, u.int_in_range(0..=PAYLOAD_BYTES_MAX + 1)?),
        })
    }
}

/// A plugin, and what it may do; all, if that is not said.
struct Plugin {
    name: &'static str,
    permissions: Option<Permissions>,
    client: EventsClient,
}

struct World {
    events: Events,
    plugins: Vec<Plugin>,
    standing: Vec<Standing>,
    published: u8,
    is_closed: bool,
}

/// Has a host and three plugins publish, subscribe, take and leave: one that may do all, one that is confined, and one with
/// permissions of any kind.
///
/// What is refused is refused for the reason that the oracle has. A subscriber gets each event of its topics once, in the order
/// of all, or is told of how many it missed, where they were; it misses none but the oldest, and none for which there was room.
/// Whoever waits is woken. Nobody is subscribed at the end.
pub fn events(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(mut world) = World::new(&mut u) else { return };
    for _ in 0..ACTS_MAX {
        let Ok(act) = u.arbitrary() else { break };
        world.act(act);
        if !world.is_closed {
            assert_eq!(world.events.subscriptions(), world.standing.len());
        }
    }
    for standing in &mut world.standing {
        while standing.take() == Outcome::Delivered {}
    }
    world.standing.clear();
    assert_eq!(world.events.subscriptions(), 0);
}

impl World {
    fn new(u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let config = EventsConfig {
            queue_events: NonZeroUsize::new(QUEUE_EVENTS).expect("not 0"),
            queue_bytes: QUEUE_BYTES,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            subscriptions_max: u32::try_from(SUBSCRIPTIONS_MAX).ok().and_then(NonZeroU32::new).expect("not 0"),
        };
        let events = Events::new(config);
        let texts = |topics: &[Topic]| topics.iter().map(|topic| topic.0.clone()).collect::<Vec<_>>();
        let all = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let confined =
            Permissions { publish: all(["a.*", "host.*"]), subscribe: all(["a.*", "b"]), ..Permissions::default() };
        let (publish, subscribe) = u.arbitrary::<(Vec<Topic>, Vec<Topic>)>()?;
        let any = Permissions { publish: texts(&publish), subscribe: texts(&subscribe), ..Permissions::default() };
        let plugins = [("trusted", None), ("confined", Some(confined)), ("any", Some(any))];
        let plugins = plugins.map(|(name, permissions)| Plugin::new(&events, name, permissions)).into();
        Ok(Self { events, plugins, standing: Vec::new(), published: 0, is_closed: false })
    }

    /// One of the plugins; for one number of them, the host.
    fn who(&self, who: u8) -> Option<&Plugin> {
        self.plugins.get(usize::from(who) % (self.plugins.len() + 1))
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Subscribe(who, topics) => self.subscribe(who, topics.into_iter().map(|topic| topic.0).collect()),
            Act::Publish(who, Topic(topic), bytes) => self.publish(who, &topic, bytes),
            Act::Take(which) => {
                if let Some(at) = self.one(which)
                    && self.standing[at].take() == Outcome::Over
                {
                    self.standing.swap_remove(at);
                }
            }
            Act::Leave(which) => drop(self.one(which).map(|at| self.standing.swap_remove(at))),
            Act::Close => {
                self.events.close();
                self.is_closed = true;
                self.standing.iter_mut().for_each(Standing::closes);
            }
        }
    }

    fn one(&self, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.standing.len())
    }

    fn subscribe(&mut self, who: u8, topics: Vec<String>) {
        let plugin = self.who(who);
        let name = plugin.map(|plugin| plugin.name);
        let own = self.standing.iter().filter(|standing| name.is_some() && standing.owner == name).count();
        let bound = SUBSCRIPTIONS_MAX;
        let due = refusal_of(&topics)
            .or_else(|| topics.iter().find_map(|topic| plugin?.refusal(Deed::Subscribe, topic)))
            .or_else(|| self.is_closed.then_some(EventsError::ShutDown))
            .or_else(|| {
                let bound = u32::try_from(bound).expect("it is small");
                (own >= SUBSCRIPTIONS_MAX).then_some(EventsError::TooManySubscriptions { bound })
            });
        let stands = match plugin {
            Some(plugin) => Standing::of_plugin(plugin.name, &plugin.client, topics),
            None => Standing::of_host(&self.events, topics),
        };
        match (stands, due) {
            (Ok(standing), None) => self.standing.push(standing),
            (Err(error), Some(due)) => assert_eq!(error, due),
            (Ok(_), Some(due)) => panic!("it stands, but {due} was due"),
            (Err(error), None) => panic!("{error}"),
        }
    }

    fn publish(&mut self, who: u8, topic: &str, bytes: usize) {
        self.published = self.published.wrapping_add(1);
        let plugin = self.who(who);
        let payload = vec![self.published; bytes];
        let [found, bound] = [bytes, PAYLOAD_BYTES_MAX].map(topics::count);
        let due = (!is_topic(topic))
            .then(|| topics::wrong(topic))
            .or_else(|| plugin?.refusal(Deed::Publish, topic))
            .or_else(|| (found > bound).then_some(EventsError::Payload { found, bound }))
            .or_else(|| self.is_closed.then_some(EventsError::ShutDown));
        let done = match plugin {
            Some(plugin) => {
                match pin!(plugin.client.publish(topic, &payload)).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(done) => done.map_err(|error| match error {
                        Error::Service(error) => error,
                        Error::Call(error) => panic!("{error}"),
                    }),
                    Poll::Pending => panic!("to publish waits for nobody"),
                }
            }
            None => self.events.publish(topic, payload.clone()),
        };
        assert_eq!(done.err(), due);
        if due.is_none() {
            let source = plugin.map(|plugin| plugin.name);
            let published = Published { topic: topic.to_owned(), source, payload };
            self.standing.iter_mut().for_each(|standing| standing.hears(&published));
        }
    }
}

impl Plugin {
    fn new(events: &Events, name: &'static str, permissions: Option<Permissions>) -> Self {
        let mut scope = PluginScope::new(name);
        if let Some(permissions) = &permissions {
            scope = scope.with_permissions(permissions.clone());
        }
        let services = Services::new().add(events.server(&scope));
        let host = BuiltIn::new("host", "1", services).expect("there is one service");
        Self { name, permissions, client: EventsClient::new(&host) }
    }

    /// Why it may not do this to a topic, if it may not.
    fn refusal(&self, deed: Deed, topic: &str) -> Option<EventsError> {
        let is_hosts = deed == Deed::Publish && topic.starts_with(HOST_TOPICS);
        let is_allowed = self.permissions.as_ref().is_none_or(|permissions| {
            let allowed = if deed == Deed::Publish { &permissions.publish } else { &permissions.subscribe };
            allowed.iter().any(|wider| covers(wider, topic))
        });
        (is_hosts || !is_allowed).then(|| EventsError::NotPermitted { deed, topic: topic.to_owned() })
    }
}
