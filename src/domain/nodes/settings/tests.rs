//! Settings as text and as values.

use super::*;

#[test]
fn every_setting_takes_back_what_it_gives() {
    for defaults in [Settings::personal(), Settings::shared()] {
        for field in FIELDS {
            let text = field.text(&defaults);
            let mut other = defaults.clone();
            let values: Vec<&str> = text.iter().map(String::as_str).collect();
            assert_eq!(other.set(field.name, &values), Ok(()), "{}", field.name);
            assert_eq!(other, defaults, "{}", field.name);
        }
    }
}

#[test]
fn max_is_as_much_as_there_is_room_for() {
    let mut settings = Settings::personal();
    for (given, kept, told) in
        [("max", limits::NODE_ITEMS_MAX, "max"), ("4294967295", limits::NODE_ITEMS_MAX, "max"), ("7", 7, "7")]
    {
        settings.set("max_items", &[given]).unwrap();
        assert_eq!((settings.max_items, settings.text("max_items").unwrap()), (kept, vec![told.to_owned()]));
    }
    for (given, told) in [("max", "max"), ("3600", "3600"), ("", "max"), ("0", "max")] {
        settings.set("item_expire", &[given]).unwrap();
        assert_eq!(settings.text("item_expire").unwrap(), [told]);
    }
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let mut settings = Settings::shared();
    for (name, values) in [
        ("access_model", &["secret"][..]),
        ("persist_items", &["maybe"]),
        ("max_items", &["-1"]),
        ("tempsub", &["1"]),
        ("node_type", &["collection"]),
        ("title", &["a", "b"]),
    ] {
        assert_eq!(settings.set(name, values), Err(Wrong::Value), "{name}");
    }
    assert_eq!(settings.set("collection", &["x"]), Err(Wrong::Name));
    let long = "x".repeat(limits::NODE_TEXT_BYTES_MAX + 1);
    assert_eq!(settings.set("title", &[&long]), Err(Wrong::Value));
    let many = vec!["x"; limits::NODE_LINES_MAX + 1];
    assert_eq!(settings.set("contact", &many), Err(Wrong::Value));
    assert_eq!(settings, Settings::shared());
}
