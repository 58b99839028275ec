//! The files this version ships, compiled in. A test compares the list with the folder.

macro_rules! files {
    ($($path:literal,)*) => {
        /// Path and text of each file.
        pub(crate) const FILES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../", $path))),)*];
    };
}

files! {
}
