//! Build contexts: which of the user's files a build sees.

pub mod ignore;
