//! Files with mistakes, and what is told of them.

use super::{Format, problems};

/// A file that begins in three lines with all that it needs; a text that speaks of programs or discovery says that itself.
fn whole(format: Format, text: &str) -> String {
    let says_where = text.contains("program") || text.contains("discovery");
    let (names, discovery) = match format {
        Format::Toml => ("name = 'h'\nversion = '1'", "discovery.directories = ['x']"),
        Format::Yaml => ("name: h\nversion: '1'", "discovery: {directories: [x]}"),
    };
    format!("{names}\n{}\n{text}", if says_where { "" } else { discovery })
}

/// What is told of a text behind the names, without the file.
fn told(format: Format, text: &str) -> Vec<String> {
    let file = if format == Format::Toml { "conf/host.toml:" } else { "conf/host.yaml:" };
    let strip = |line: String| line.strip_prefix(file).unwrap_or_else(|| panic!("{line}")).to_owned();
    problems(format, &whole(format, text)).into_iter().map(strip).collect()
}

#[test]
fn what_a_main_prints_that_returns_the_error_is_what_is_wrong() {
    let error = super::read(Format::Toml, &whole(Format::Toml, "colour = 1")).unwrap_err();
    assert!(error.to_string().starts_with("conf/host.toml:4:1: colour: "), "{error}");
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn a_mistake_is_told_with_its_place_its_field_and_what_is_expected() {
    #[rustfmt::skip]
    let cases = [
        // Types.
        ("timeouts.call = '5x'", "4:17", "timeouts: {call: 5x}", "4:18",
            "timeouts.call: found \"5x\", expected a duration such as 250ms, 5m or 1h30m"),
        ("timeouts.call = 5", "4:17", "timeouts:\n  call: 5", "5:9",
            "timeouts.call: found 5, expected a duration such as 250ms, 5m or 1h30m"),
        ("[plugins.shout.supervision.limit]\nwindow = '5x'", "5:10",
            "plugins:\n  shout:\n    supervision:\n      limit:\n        window: 5x", "8:17",
            "plugins.shout.supervision.limit.window: found \"5x\", expected a duration such as 250ms, 5m or 1h30m"),
        ("memory.slot_bytes = '5 GB'", "4:21", "memory: {slot_bytes: 5 GB}", "4:22",
            "memory.slot_bytes: found \"5 GB\", expected a size below 4GiB such as 4096, 64KiB or 4MiB"),
        ("memory.segment_bytes = -1", "4:24", "memory: {segment_bytes: -1}", "4:25",
            "memory.segment_bytes: found -1, expected a size such as 4096, 64KiB, 4MiB or 1GiB"),
        ("memory.ring_capacity = 5000000000", "4:24", "memory: {ring_capacity: 5000000000}", "4:25",
            "memory.ring_capacity: found 5000000000, expected a whole number from 0 to 4294967295"),
        ("discovery.watch = 'yes'", "4:19", "discovery: {watch: yes}", "4:20",
            "discovery.watch: found \"yes\", expected true or false"),
        ("supervision.instances = 0", "4:25", "supervision: {instances: 0}", "4:26",
            "supervision.instances: found 0, expected a whole number from 1 to 65535"),
        ("plugins.p = 5", "4:13", "plugins: {p: 5}", "4:14", "plugins.p: found 5, expected a table"),
        ("plugins.p.args = 'x'", "4:18", "plugins: {p: {args: x}}", "4:21", 
            "plugins.p.args: found \"x\", expected a list"),
        ("plugins.p.args = ['x', 7]", "4:24", "plugins: {p: {args: [x, 7]}}", "4:25",
            "plugins.p.args[1]: found 7, expected a text"),
        ("supervision.breaker = true", "4:23", "supervision: {breaker: true}", "4:24",
            "supervision.breaker: found true, expected false, or a value that it is turned on with"),
        ("supervision.breaker.open = 'x'", "4:28", "supervision: {breaker: {open: x}}", "4:31",
            "supervision.breaker.open: found \"x\", expected a duration such as 250ms, 5m or 1h30m"),
        ("supervision.idle_timeout = 'x'", "4:28", "supervision: {idle_timeout: x}", "4:29",
            "supervision.idle_timeout: found \"x\", expected a duration such as 250ms, 5m or 1h30m"),
        // Names.
        ("plugins.p.argz = []", "4:11", "plugins: {p: {argz: []}}", "4:15",
            "plugins.p.argz: is not a known field; did you mean args?"),
        ("colour = 1", "4:1", "colour: 1", "4:1",
            "colour: is not a known field; expected name, version, memory, limits, timeouts, shutdown, metrics, discovery, attach, \
             admin, calls, supervision, storage, require_sandbox, ceiling, plugins, contracts or events"),
        ("storage = {}", "4:1", "storage: {}", "4:10", "storage.path: is missing"),
        ("storage.path = ''", "4:16", "storage: {path: ''}", "4:17", "storage.path: expected a path"),
        ("supervision.restart = 'onfailure'", "4:23", "supervision: {restart: onfailure}", "4:24",
            "supervision.restart: found \"onfailure\", did you mean on-failure?"),
        ("supervision.restart = 1", "4:23", "supervision: {restart: 1}", "4:24",
            "supervision.restart: found 1, expected never, on-failure or always"),
        ("contracts.c.binding = 'any'", "4:23", "contracts: {c: {binding: any}}", "4:26",
            "contracts.c.binding: found \"any\", expected exclusive, first or chain"),
        // Bounds.
        ("limits.calls_max = 5000", "4:20", "limits: {calls_max: 5000}", "4:21",
            "limits.calls_max: found 5000, expected 1 to 4096"),
        ("memory.ring_capacity = 65", "4:24", "memory: {ring_capacity: 65}", "4:25",
            "memory.ring_capacity: found 65, expected a power of two from 16 to 4096"),
        ("timeouts.liveness = '0s'", "4:21", "timeouts: {liveness: 0s}", "4:22",
            "timeouts.liveness: found 0s, expected a longer duration"),
        ("supervision.backoff.jitter = 1.5", "4:30", "supervision: {backoff: {jitter: 1.5}}", "4:33",
            "supervision.backoff.jitter: found 1.5, expected a number from 0 to 1"),
        ("supervision.backoff.most = '10ms'", "4:28", "supervision: {backoff: {most: 10ms}}", "4:31",
            "supervision.backoff.most: found 10ms, expected at least 100ms, which is backoff.first"),
        ("plugins.p = {program = 'p', supervision.backoff.first = '1m'}", "4:57",
            "plugins: {p: {program: p, supervision: {backoff: {first: 1m}}}}", "4:58",
            "plugins.p.supervision.backoff.first: found 60s, expected at most 30s, which is backoff.most"),
        ("supervision.breaker.failures = 0", "4:32", "supervision: {breaker: {failures: 0}}", "4:35",
            "supervision.breaker.failures: found 0, expected at least 1"),
        ("plugins.p = {program = 'p', limits = {cpu_seconds = 0, calls = 0, storage_bytes = 0}}", "4:53",
            "plugins: {p: {program: p, limits: {cpu_seconds: 0, calls: 0, storage_bytes: 0}}}", "4:49",
            "plugins.p.limits.cpu_seconds: found 0, expected at least 1"),
        ("ceiling.limits.memory_bytes = '0B'", "4:31", "ceiling: {limits: {memory_bytes: 0B}}", "4:34",
            "ceiling.limits.memory_bytes: found 0, expected at least 1"),
        // What contradicts itself.
        ("[plugins.p] # no discovery", "4:10", "plugins: # no discovery\n  p:", "5:3", "plugins.p.program: is missing, and no plugins are discovered"),
        ("plugins.'a b'.program = 'x'", "4:9", "plugins: {a b: {program: x}}", "4:16",
            "plugins.\"a b\": is not a name for a plugin: 1 to 64 letters, digits, dots, dashes and underscores, the first a \
             letter or digit"),
        ("plugins.shout.program = 'x'\ncontracts.c.order = ['shoot']", "5:22",
            "plugins: {shout: {program: x}}\ncontracts: {c: {order: [shoot]}}", "5:25",
            "contracts.c.order[0]: there is no plugin shoot; did you mean shout?"),
        ("plugins.p.program = 'x'\ncontracts.c = {binding='first', order=['p', 'p']}", "5:45",
            "plugins: {p: {program: x}}\ncontracts: {c: {binding: first, order: [p, p]}}", "5:44",
            "contracts.c.order[1]: p is there already"),
        ("discovery.directories = ['x']\ncontracts.c.order = ['a', 'b']", "5:27",
            "discovery: {directories: [x]}\ncontracts: {c: {order: [a, b]}}", "5:28",
            "contracts.c.order[1]: an exclusive contract has one plugin"),
        ("plugins.p = {program = 'p', permissions.read = ['etc']}", "4:49",
            "plugins: {p: {program: p, permissions: {read: [etc]}}}", "4:48",
            "plugins.p.permissions.read[0]: found \"etc\", expected an absolute path without .."),
        ("ceiling.permissions.write = ['/x', '/x/../etc']", "4:36",
            "ceiling: {permissions: {write: [/x, /x/../etc]}}", "4:37",
            "ceiling.permissions.write[1]: found \"/x/../etc\", expected an absolute path without .."),
        ("ceiling.permision.write = ['/']", "4:9", "ceiling: {permision: {write: [/]}}", "4:11",
            "ceiling.permision: is not a known field; did you mean permissions?"),
        ("plugins.p = {program = 'p', env.'A=B' = 'x'}", "4:41", "plugins: {p: {program: p, env: {A=B: x}}}", "4:38",
            "plugins.p.env.\"A=B\": has an empty name, an equals sign in it, or a zero byte"),
        ("plugins.p = {program = 'p', args = [\"a\\u0000b\"]}", "4:37", "plugins: {p: {program: p, args: [\"a\\0b\"]}}", "4:34",
            "plugins.p.args[0]: has a zero byte in it"),
        ("attach = ''", "4:10", "attach: ''", "4:9", "attach: expected a path of 1 to 107 bytes"),
        ("admin.socket = ''", "4:16", "admin: {socket: ''}", "4:17", "admin.socket: expected a path of 1 to 107 bytes"),
        ("events.payload_bytes_max = '2MiB'", "4:28", "events: {payload_bytes_max: 2MiB}", "4:29",
            "events.payload_bytes_max: found 2097152 bytes, expected at most queue_bytes, which is 1048576"),
        ("events.queue_events = 0", "4:23", "events: {queue_events: 0}", "4:24",
            "events.queue_events: found 0, expected a whole number from 1 to 18446744073709551615"),
        // Variables.
        ("plugins.p.program = '${NONE}/p'", "4:21", "plugins: {p: {program: '${NONE}/p'}}", "4:24",
            "plugins.p.program: the environment has no NONE; ${NONE:-DEFAULT} would do without"),
        ("plugins.p.config = ['$5']", "4:21", "plugins: {p: {config: [$5]}}", "4:24",
            "plugins.p.config[0]: a dollar that is meant as one is written $$"),
    ];
    for (toml, toml_at, yaml, yaml_at, told_of_it) in cases {
        assert_eq!(told(Format::Toml, toml), [format!("{toml_at}: {told_of_it}")], "{toml}");
        assert_eq!(told(Format::Yaml, yaml), [format!("{yaml_at}: {told_of_it}")], "{yaml}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    let toml = "timeouts = {call = '5x', start = 7}\nlimits.calls_max = 0\n[plugins.shout]\nargz = []\nenv = {A = 1, B = 'b'}\n\
        supervision.restart = 'x'\n[contracts.c]\norder = ['a', 'a']\n[memory]\nslot_bytes = 65\n";
    let yaml = "timeouts: {call: 5x, start: 7}\nlimits: {calls_max: 0}\nplugins:\n  shout:\n    argz: []\n    env: {A: 1, B: b}\n    \
        supervision: {restart: x}\ncontracts:\n  c:\n    order: [a, a]\nmemory:\n  slot_bytes: 65\n";
    for (format, text) in [(Format::Toml, toml), (Format::Yaml, yaml)] {
        let told: Vec<_> = told(format, text).iter().map(|line| line.split(": ").nth(1).unwrap().to_owned()).collect();
        let fields = [
            "timeouts.call",
            "timeouts.start",
            "limits.calls_max",
            "plugins.shout.argz",
            "plugins.shout.env.A",
            "plugins.shout.supervision.restart",
            "contracts.c.order[1]",
            "memory.slot_bytes",
        ];
        assert_eq!(told, fields, "{format:?}");
    }
}

#[test]
fn one_mistake_is_not_told_twice() {
    // The limit that cannot be read counts as its default, of which the other would be too small a part.
    let text = "limits.message_bytes_max = 'x'\nlimits.inbound_bytes_max = '1MiB'";
    assert_eq!(told(Format::Toml, text).len(), 1);
    // A limit out of bounds is no reason for another.
    let text = "limits.message_bytes_max = '3GiB'\nlimits.inbound_bytes_max = '1MiB'\nlimits.depth_max = 0";
    assert_eq!(told(Format::Toml, text).len(), 2);
    assert_eq!(told(Format::Toml, "events.queue_bytes = 'x'\nevents.payload_bytes_max = '2MiB'").len(), 1);
    // What contracts name is there, though it is broken.
    let text = "plugins.p = {program = 7}\ncontracts.c.order = ['p']";
    assert_eq!(told(Format::Toml, text), ["4:24: plugins.p.program: found 7, expected a text"]);
    // What is required and broken is not missing.
    assert_eq!(
        problems(Format::Toml, "name = 7\nversion = '1'"),
        ["conf/host.toml:1:8: name: found 7, expected a text"]
    );
}

#[test]
fn a_file_that_cannot_be_parsed_says_where() {
    for (text, told) in [
        ("name = 'h\n", "1:10: invalid literal string, expected `'`"),
        ("[[plugins]\n", "1:11: unclosed array table, expected `]`"),
        ("name = 'h'\nname = 'i'\n", "2:1: duplicate key"),
        ("name 'h'\n", "1:6: key with no value, expected `=`"),
    ] {
        assert_eq!(problems(Format::Toml, text), [format!("conf/host.toml:{told}")]);
    }
    for (text, told) in [
        ("name: 'h\n", "2:1: invalid indentation in multiline quoted scalar"),
        ("name: h\n version: 1\n", "2:9: mapping values are not allowed in this context"),
        ("name: h\nname: i\n", "2:1: duplicate mapping key `name` is not allowed here"),
        ("name: h\n---\nname: i\n", "2:1: has more than one document"),
        ("name: &a h\nversion: *a\n", "1:10: anchors and aliases are not taken"),
        ("name: h\n<<: {version: 1}\n", "2:1: merge key not allowed here"),
        ("? [a, b]\n: c\n", "1:3: expected string scalar"),
        ("name: .nan", "1:7: value `.nan` is not a finite number"),
    ] {
        assert_eq!(problems(Format::Yaml, text), [format!("conf/host.yaml:{told}")]);
    }
}

#[test]
fn what_a_variable_holds_is_not_told() {
    let text = "name = 'h'\nversion = '1'\ntimeouts.call = '${TOKEN}'";
    let error = super::read_with(Format::Toml, text, &[("TOKEN", "s3cret")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "conf/host.toml:3:17: timeouts.call: found \"${TOKEN}\", expected a duration such as 250ms, 5m or 1h30m"
    );
}
