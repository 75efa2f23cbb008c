//! Law checkers and the slow obvious model.
