//! Contexts as artifacts in a real registry.

use cooper::context::Context;
use cooper::context::fetch::push_artifact;
use cooper::context::ignore::Ignore;
use cooper::image::RepoName;
use cooper::registry::{CredentialPlaces, Credentials, Registries, RegistrySettings};

use crate::support::{Build, DebianRegistry};

#[test]
fn a_context_goes_to_a_registry_and_back() {
    let registry = DebianRegistry::start();
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir(tree.path().join("sub")).unwrap();
    std::fs::write(tree.path().join("Dockerfile"), "FROM scratch\nCOPY . /all/\n").unwrap();
    std::fs::write(tree.path().join("sub/file"), "file\n").unwrap();
    std::fs::hard_link(tree.path().join("sub/file"), tree.path().join("same")).unwrap();
    std::fs::write(tree.path().join("secret"), "left out\n").unwrap();
    std::os::unix::fs::symlink("sub/file", tree.path().join("link")).unwrap();

    let config = registry.docker_config();
    let places =
        CredentialPlaces { docker_config: Some(config.join("config.json")), ..CredentialPlaces::default() };
    let credentials = Credentials::load(&places).unwrap();
    let registries = Registries::new(RegistrySettings::default(), credentials).unwrap();
    let repository = registries.repository(&RepoName::new(registry.host(), "contexts/app")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let push = |tag| {
        let context = Context::load(tree.path(), &Ignore::parse("secret\n").unwrap()).unwrap();
        runtime.block_on(push_artifact(context, &repository, tag, scratch.path())).unwrap()
    };
    let digest = push(None);
    assert_eq!(push(Some("latest")), digest, "the same files are the same artifact");

    let host = registry.host();
    for name in [format!("oci://{host}/contexts/app@{digest}"), format!("oci://{host}/contexts/app:latest")] {
        let build = Build::new("").source(&name).env("DOCKER_CONFIG", config.display().to_string());
        let image = build.image();
        assert_eq!(image.below("all"), ["Dockerfile", "link", "same", "sub", "sub/file"]);
        assert_eq!(image.text("all/sub/file"), "file\n");
        assert_eq!(image.at("all/link").content, "sub/file");
    }
    let run =
        |name: String| Build::new("").source(name).env("DOCKER_CONFIG", config.display().to_string()).run();
    let none = format!("oci://{host}/contexts/app:none");
    run(none.clone()).failure(1, &["cannot load the build context from oci://", "none"]);
    // An image is no context.
    registry.load(crate::support::base_layout(), "latest", "image:1");
    run(format!("oci://{host}/image:1")).failure(1, &["it is no build context"]);
    Build::new("").source(none).run().failure(1, &["cannot load the build context"]);
}
