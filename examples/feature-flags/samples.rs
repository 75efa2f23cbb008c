//! Flags to try things out with.

/// Names and definitions, one of each type.
pub const SAMPLES: [(&str, &str); 5] = [
    (
        "sample-checkout",
        r#"{"type": "boolean", "variants": {"on": true, "off": false}, "default": "off", "rules": [
            {"if": [{"attribute": "email", "starts_with": "qa-"}], "serve": "on"},
            {"if": [{"attribute": "country", "in": ["DE", "FR"]}, {"attribute": "age", "at_least": 18}], "serve": "on"},
            {"rollout": [{"variant": "on", "percent": 25}]}]}"#,
    ),
    (
        "sample-page-size",
        r#"{"type": "integer", "variants": {"small": 20, "large": 100}, "default": "small", "rules": [
            {"if": [{"attribute": "plan", "equals": "pro"}], "serve": "large"}]}"#,
    ),
    ("sample-discount", r#"{"type": "float", "variants": {"none": 0, "spring": 12.5}, "default": "none"}"#),
    (
        "sample-button",
        r#"{"type": "string", "variants": {"blue": "Buy", "green": "Buy now", "red": "Buy!"}, "default": "blue", "rules": [
            {"rollout": [{"variant": "blue", "percent": 50}, {"variant": "green", "percent": 30}, {"variant": "red", "percent": 20}]}]}"#,
    ),
    (
        "sample-theme",
        r#"{"type": "struct", "variants": {"day": {"ink": "black", "sizes": [12, 16]}}, "default": "day"}"#,
    ),
];
