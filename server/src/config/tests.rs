//! What is given wins, what is wrong is refused with its line, what is secret is not printed.

use super::*;

/// Verifies: SRS-021, RC-017
#[test]
fn unknown_keys_are_refused_with_their_line() {
    let (line, column, why) = parse_file("http = \"127.0.0.1:1\"\n\nhttpp = \"x\"\n").unwrap_err();
    assert_eq!((line, column), (3, 1));
    assert!(why.starts_with("unknown key `httpp`"), "{why}");
}

#[test]
fn wrong_values_are_refused_with_their_line() {
    for text in [
        "workers = \"two\"",
        "mllp = \"everywhere\"",
        "validation = \"perhaps\"",
        "http = \"localhost\"",
    ] {
        let (line, _, _) = parse_file(&format!("# first\n{text}\n")).unwrap_err();
        assert_eq!(line, 2, "{text}");
    }
}

#[test]
fn what_is_given_wins_over_the_file_and_the_file_over_the_default() {
    let file = parse_file("workers = 3\npage_entries = 7\n").unwrap();
    let given = Settings {
        workers: Some(5),
        ..Settings::default()
    };
    let config = Config::resolve(given, file);
    assert_eq!(
        (config.workers, config.page_entries, config.page_entries_max),
        (5, 7, 1_000)
    );
}

/// Verifies: SRS-012, RC-011
#[test]
fn an_open_server_stays_on_loopback() {
    let reachable: SocketAddr = "0.0.0.0:8080".parse().unwrap();
    let config = Config {
        http: reachable,
        ..Config::default()
    };
    assert!(config.check().unwrap_err().0.contains("--insecure-open"));
    let config = Config {
        mllp: Listen::On(reachable),
        ..Config::default()
    };
    assert!(config.check().unwrap_err().0.starts_with("`mllp`"));
    let config = Config {
        http: reachable,
        insecure_open: true,
        ..Config::default()
    };
    assert_eq!(config.check(), Ok(()));
    for loopback in ["127.0.0.1:0", "[::1]:8080", "127.8.8.8:1"] {
        let config = Config {
            http: loopback.parse().unwrap(),
            ..Config::default()
        };
        assert_eq!(config.check(), Ok(()), "{loopback}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let default = Config::default;
    for (config, names) in [
        (
            Config {
                workers: 0,
                ..default()
            },
            "workers",
        ),
        (
            Config {
                page_entries: 0,
                ..default()
            },
            "page_entries",
        ),
        (
            Config {
                page_entries: 10,
                page_entries_max: 9,
                ..default()
            },
            "page_entries_max",
        ),
        (
            Config {
                body_bytes_max: 1,
                ..default()
            },
            "body_bytes_max",
        ),
        (
            Config {
                base_url: Some("fhir.example.org".to_owned()),
                ..default()
            },
            "base_url",
        ),
    ] {
        assert!(config.check().unwrap_err().0.contains(names), "{names}");
    }
}

#[test]
fn what_is_printed_can_be_read_again_and_hides_passwords() {
    let config = Config {
        admin_token: Some(Secret("0123456789abcdef".to_owned())),
        feed: vec![FeedSettings {
            name: "lab".to_owned(),
            authorities: [("HILL".to_owned(), "urn:x:hill".to_owned())].into(),
            ..FeedSettings::default()
        }],
        database: "postgres://me:pa55word@db/stoker".to_owned(),
        ..Config::default()
    };
    let text = config.to_toml();
    assert!(!text.contains("pa55word") && !text.contains("0123456789abcdef"));
    assert_eq!(parse_file(&text).unwrap().feed, config.feed);
    assert_eq!(
        parse_file(&text).unwrap().database.as_deref(),
        Some("postgres://me:***@db/stoker")
    );
    assert_eq!(mask_password("sqlite:a@b.db"), "sqlite:a@b.db");
    assert_eq!(mask_password("postgres://me@db/x"), "postgres://me@db/x");
}
