use super::*;

fn invalid(text: &str) -> String {
    match Options::parse(text) {
        Err(Error::Invalid(why)) => why,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_table_tells_the_defaults() {
    let text: String = TABLE
        .iter()
        .filter(|item| {
            matches!(item.kind, Kind::Time { .. } | Kind::Every { .. } | Kind::Size { .. })
                || item.name == "lock"
        })
        .map(|item| format!("{}={},", item.name, item.default))
        .collect();
    let parsed = Options::parse(&text).expect("the defaults are legal");
    assert_eq!(format!("{parsed:?}"), format!("{:?}", Options::default()));
}

#[test]
fn separators_quotes_and_words() {
    let options =
        Options::parse("timeout=250ms;lock='a, \\'b\\\\' insecure\tdebug,,").expect("legal");
    assert_eq!(options.timeout, 250 * MS);
    assert_eq!(options.lock, "a, 'b\\");
    assert!(options.insecure && options.debug);
    assert!(Options::parse("").is_ok() && Options::parse(" ;, ").is_ok());
}

#[test]
fn errors_name_the_item_and_never_show_a_secret() {
    assert!(invalid("colour=red").contains("colour"));
    assert!(invalid("timeout=0").contains("timeout"));
    assert!(invalid("timeout=5").contains("timeout"));
    assert!(invalid("timeout=-1s").contains("timeout"));
    assert!(invalid("timeout").contains("timeout"));
    assert!(invalid("timeout=99999999999999999999h").contains("timeout"));
    assert!(invalid("debug=1").contains("debug"));
    assert!(invalid("lock=a lock=b").contains("twice"));
    assert!(invalid("lock='a").contains("quote"));
    assert!(invalid("lock='a'b").contains("quote"));
    assert!(invalid("cert=x").contains("key"));
    assert!(invalid("insecure cacert=x").contains("cacert"));
    assert!(invalid("dispatch=fast").contains("dispatch"));
    for secret in [
        "password='hunter2",
        "user=u password=hunter2",
        "user=u password='hunter2' password=hunter2",
        "user=u password='hunter2' password_file=f",
        "user=u password='a'hunter2",
        "user=u password=a hunter2",
        "user=u password=a, hunter2='",
        "user=u password=a hunter2='x'y",
        "password=hunter2",
        "timeout='5s user=u password=hunter2'",
        "timeout=password=hunter2",
    ] {
        if let Err(error) = Options::parse(secret) {
            assert!(!error.to_string().contains("hunter2"), "{secret}: {error}");
        }
    }
    let options = Options::parse("user=u password=hunter2").expect("legal");
    assert!(!format!("{options:?}").contains("hunter2"));
}

#[test]
fn a_user_has_one_password() {
    assert!(invalid("user=u").contains("password"));
    assert!(invalid("password=p").contains("user"));
    assert!(invalid("password_file=f").contains("user"));
    assert!(invalid("user=u password=p password_file=f").contains("exclude"));
    assert!(invalid("user=u password_file=f password=p").contains("exclude"));
    let options = Options::parse("user=u password='a b\\'=,;'").expect("legal");
    let password = options.password.expect("given").read().expect("there");
    assert_eq!(password, "a b'=,;");
}

#[test]
fn leases_have_whole_seconds_and_at_least_two() {
    let ttl = |text: &str| Options::parse(text).expect("legal").temp_ttl;
    assert_eq!(ttl("temp_ttl=1ms"), 2 * S);
    assert_eq!(ttl("temp_ttl=2001ms"), 3 * S);
    assert_eq!(ttl("temp_ttl=10s"), 10 * S);
}

#[test]
fn members_are_asked_for_each_second_at_most_or_never() {
    let sync = |text: &str| Options::parse(text).expect("legal").sync;
    for (text, time) in [("sync=1s", S), ("sync=1000ms", S), ("sync=60s", 60 * S)] {
        assert_eq!(sync(text), time, "{text}");
    }
    for never in ["", "sync=0", "sync=0s", "sync=0ms"] {
        assert_eq!(sync(never), Duration::ZERO, "{never}");
    }
    for often in ["sync=1ms", "sync=999ms"] {
        let why = invalid(often);
        assert!(why.contains("not from 1s to") && why.ends_with("nor 0 for never"), "{why}");
    }
    let why = invalid("keepalive=0");
    assert!(why.contains("keepalive") && !why.contains("never"), "{why}");
}

#[test]
fn readme_has_the_table() {
    let mut table = String::from("| option | default | meaning |\n|---|---|---|\n");
    for item in TABLE {
        table += &format!("| `{}` | {} | {} |\n", item.name, item.default, item.meaning);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    let (begin, end) = ("<!-- options: begin -->\n", "<!-- options: end -->");
    let from = readme.find(begin).expect("begin mark") + begin.len();
    let to = readme.find(end).expect("end mark");
    if readme[from..to] != table {
        let updated = [&readme[..from], &table, &readme[to..]].concat();
        std::fs::write(path, updated).expect("write README.md");
        panic!("the option table in README.md was stale; it is updated now, commit it");
    }
}
