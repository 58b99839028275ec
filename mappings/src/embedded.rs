//! The files this version ships, compiled in. A test compares the list with the folder.

macro_rules! files {
    ($($path:literal,)*) => {
        /// Path and text of each file.
        pub(crate) const FILES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../", $path))),)*];
    };
}

files! {
    "code/hl70001-administrative-gender.tsv",
    "code/hl70002-marital-status.tsv",
    "code/hl70074-observation-category.tsv",
    "code/hl70078-observation-interpretation.tsv",
    "code/hl70085-observation-status.tsv",
    "code/hl70190-address-type.tsv",
    "code/hl70190-address-use.tsv",
    "code/hl70200-name-use.tsv",
    "code/hl70201-contact-point-use.tsv",
    "code/hl70202-contact-point-system.tsv",
    "code/hl70396-coding-system.tsv",
    "code/unit-ucum.tsv",
    "device/measurement-observation.yaml",
    "hl7v2/adt-merge.yaml",
    "hl7v2/adt-patient.yaml",
    "hl7v2/oru-observation.yaml",
    "hl7v2/segment/mrg-patient.yaml",
    "hl7v2/segment/obx-observation.yaml",
    "hl7v2/segment/pid-patient.yaml",
    "hl7v2/type/cwe.yaml",
    "hl7v2/type/cx-identifier.yaml",
    "hl7v2/type/ei-identifier.yaml",
    "hl7v2/type/val-observation-value.yaml",
    "hl7v2/type/xad-address.yaml",
    "hl7v2/type/xpn-human-name.yaml",
    "hl7v2/type/xtn-contact-point.yaml",
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(folder: &std::path::Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder)
            .expect("folder")
            .map(|e| e.expect("entry"))
        {
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{path}/"), found);
            } else {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_folders_is_listed() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for folder in ["code", "device", "hl7v2"] {
            let path = root.join(folder);
            if path.exists() {
                walk(&path, &format!("{folder}/"), &mut found);
            }
        }
        found.sort();
        let listed: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, listed);
    }
}
