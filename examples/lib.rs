//! Examples: one lesson each, runnable with no server. See `README.md` beside this file.
