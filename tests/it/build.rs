//! `cooper build`, from the outside.

mod command_line;
mod interrupted;
mod offline;
mod outcome;
mod platforms;
mod pull;
mod push;
mod refused;
mod reproducible;
mod sample_app;
mod trace;

use crate::support::Build;

#[test]
fn copies_and_runs() {
    let image = Build::new("FROM base\nWORKDIR /app\nCOPY a.txt .\nRUN echo made > b.txt\n")
        .file("a.txt", "copied\n")
        .image();
    assert_eq!((image.text("app/a.txt"), image.text("app/b.txt")), ("copied\n".into(), "made\n".into()));
    assert_eq!(
        image.history()[2..],
        ["WORKDIR /app", "COPY a.txt . # buildkit", "RUN /bin/sh -c echo made > b.txt # buildkit"]
    );
}
