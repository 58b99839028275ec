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
    "code/hl70004-encounter-class.tsv",
    "code/hl70038-request-status.tsv",
    "code/hl70052-diagnosis-role.tsv",
    "code/hl70063-relationship.tsv",
    "code/hl70074-observation-category.tsv",
    "code/hl70078-observation-interpretation.tsv",
    "code/hl70085-observation-status.tsv",
    "code/hl70119-request-status.tsv",
    "code/hl70123-report-status.tsv",
    "code/hl70127-allergy-category.tsv",
    "code/hl70127-allergy-type.tsv",
    "code/hl70128-reaction-severity.tsv",
    "code/hl70189-ethnicity.tsv",
    "code/hl70190-address-type.tsv",
    "code/hl70190-address-use.tsv",
    "code/hl70200-name-use.tsv",
    "code/hl70201-contact-point-use.tsv",
    "code/hl70202-contact-point-system.tsv",
    "code/hl70271-document-status.tsv",
    "code/hl70278-appointment-status.tsv",
    "code/hl70291-media-type.tsv",
    "code/hl70322-immunization-status.tsv",
    "code/hl70396-coding-system.tsv",
    "code/hl70485-request-priority.tsv",
    "code/hl70532-specimen-status.tsv",
    "code/unit-ucum.tsv",
    "device/measurement-observation.yaml",
    "hl7v2/adt-merge.yaml",
    "hl7v2/adt-visit.yaml",
    "hl7v2/bar-account.yaml",
    "hl7v2/dft-charge.yaml",
    "hl7v2/mdm-document.yaml",
    "hl7v2/orm-order.yaml",
    "hl7v2/oru-result.yaml",
    "hl7v2/part/guarantor.yaml",
    "hl7v2/part/header.yaml",
    "hl7v2/part/message.yaml",
    "hl7v2/part/person.yaml",
    "hl7v2/part/result.yaml",
    "hl7v2/part/visit.yaml",
    "hl7v2/ppr-problem.yaml",
    "hl7v2/rde-medication.yaml",
    "hl7v2/segment/al1-allergy.yaml",
    "hl7v2/segment/dg1-condition.yaml",
    "hl7v2/segment/ft1-charge-item.yaml",
    "hl7v2/segment/gt1-related-person.yaml",
    "hl7v2/segment/in1-coverage.yaml",
    "hl7v2/segment/mrg-patient.yaml",
    "hl7v2/segment/msh-message-header.yaml",
    "hl7v2/segment/nk1-related-person.yaml",
    "hl7v2/segment/obr-diagnostic-report.yaml",
    "hl7v2/segment/obr-service-request.yaml",
    "hl7v2/segment/obx-observation.yaml",
    "hl7v2/segment/pid-account.yaml",
    "hl7v2/segment/pid-patient.yaml",
    "hl7v2/segment/pr1-procedure.yaml",
    "hl7v2/segment/prb-condition.yaml",
    "hl7v2/segment/pv1-encounter.yaml",
    "hl7v2/segment/pv1-episode.yaml",
    "hl7v2/segment/rxa-immunization.yaml",
    "hl7v2/segment/rxe-medication.yaml",
    "hl7v2/segment/sch-appointment.yaml",
    "hl7v2/segment/spm-specimen.yaml",
    "hl7v2/segment/txa-document.yaml",
    "hl7v2/siu-appointment.yaml",
    "hl7v2/type/cq-quantity.yaml",
    "hl7v2/type/cwe.yaml",
    "hl7v2/type/cx-identifier.yaml",
    "hl7v2/type/dia-diagnosis.yaml",
    "hl7v2/type/doc-type.yaml",
    "hl7v2/type/ed-attachment.yaml",
    "hl7v2/type/ei-identifier.yaml",
    "hl7v2/type/hdl-location.yaml",
    "hl7v2/type/ndl-practitioner.yaml",
    "hl7v2/type/pl-location.yaml",
    "hl7v2/type/val-observation-value.yaml",
    "hl7v2/type/xad-address.yaml",
    "hl7v2/type/xcn-practitioner.yaml",
    "hl7v2/type/xon-organization.yaml",
    "hl7v2/type/xpn-human-name.yaml",
    "hl7v2/type/xtn-contact-point.yaml",
    "hl7v2/vxu-immunization.yaml",
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
