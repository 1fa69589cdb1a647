use serde_json::json;

use super::*;

fn parse(value: &Value) -> Result<ImageConfig, ConfigError> {
    ImageConfig::parse(value.to_string().as_bytes())
}

/// A config with every field and some of other tools.
fn full() -> Value {
    let digest = Digest::of("layer").to_string();
    json!({
        "architecture": "arm", "os": "linux", "variant": "v7", "os.version": "1", "author": "me",
        "created": "2024-02-29T12:30:45.123456789Z",
        "docker_version": "20.10.1", "os.features": ["x"],
        "config": {
            "User": "1:2", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/bin"], "Entrypoint": ["/a"], "Cmd": ["b"],
            "Volumes": {"/data": {}}, "WorkingDir": "/w", "Labels": {"a": "b"}, "StopSignal": "SIGTERM",
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1, "Timeout": 2, "StartPeriod": 3, "StartInterval": 4, "Retries": 5},
            "ArgsEscaped": true, "Shell": ["/bin/bash", "-c"], "OnBuild": ["RUN x"],
            "Hostname": "h", "Memory": 0,
        },
        "rootfs": {"type": "layers", "diff_ids": [digest]},
        "history": [
            {"created": "2024-01-01T00:00:00Z", "created_by": "RUN x", "comment": "c", "author": "a"},
            {"created_by": "ENV A=1", "empty_layer": true},
        ],
    })
}

#[test]
fn keeps_all_it_reads() {
    let config = parse(&full()).unwrap();
    let bytes = config.to_bytes().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), full());
    assert_eq!(ImageConfig::parse(&bytes).unwrap(), config);
    assert_eq!(config.other.keys().collect::<Vec<_>>(), ["docker_version", "os.features"]);
    assert_eq!(config.platform().to_string(), "linux/arm/v7");
    assert_eq!(config.digest().unwrap(), Digest::of(&bytes));
}

#[test]
fn leaves_out_what_go_leaves_out() {
    let config = ImageConfig::for_platform(&"linux/amd64".parse().unwrap());
    assert_eq!(
        String::from_utf8(config.to_bytes().unwrap()).unwrap(),
        r#"{"architecture":"amd64","config":{},"os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}"#
    );
}

#[test]
fn takes_null_for_absent() {
    let nulls = json!({
        "architecture": "amd64", "os": "linux", "variant": null, "author": null, "created": null,
        "config": {
            "User": null, "ExposedPorts": null, "Env": null, "Entrypoint": null, "Cmd": null, "Volumes": null,
            "Labels": null, "Healthcheck": null, "ArgsEscaped": null, "OnBuild": null,
        },
        "rootfs": {"type": "layers", "diff_ids": null},
        "history": null,
    });
    assert_eq!(parse(&nulls).unwrap(), ImageConfig::for_platform(&"linux/amd64".parse().unwrap()));
    assert!(parse(&json!({"architecture": "amd64", "os": "linux", "config": null})).is_ok());
    let volumes = json!({"config": {"Volumes": {"/a": null}}});
    assert!(parse(&volumes).unwrap().config.volumes.contains("/a"));
}

#[test]
fn refuses_hostile_configs() {
    for text in [
        "",
        "[]",
        "null",
        r#"{"os": 1}"#,
        r#"{"created": "yesterday"}"#,
        r#"{"rootfs": {"diff_ids": ["sha256:12"]}}"#,
        r#"{"config": {"Env": "PATH=/"}}"#,
        r#"{"config": {"Healthcheck": {"Interval": 1e300}}}"#,
        &format!(r#"{{"x": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        assert!(matches!(ImageConfig::parse(text.as_bytes()), Err(ConfigError::Malformed(_))), "{text:.40}");
    }
    let large = vec![b' '; MAX_CONFIG + 1];
    assert!(matches!(ImageConfig::parse(&large), Err(ConfigError::TooLarge { .. })));
}

#[test]
fn layers_and_history_go_together() {
    let mut config = ImageConfig::default();
    config.push_layer(DiffId(Digest::of("a")), History::default());
    config.push_empty(History { created_by: "ENV A=1".into(), ..History::default() });
    assert_eq!(config.rootfs.diff_ids.len(), 1);
    assert_eq!(config.history.iter().map(|step| step.empty_layer).collect::<Vec<_>>(), [false, true]);
}
