//! Definitions in a folder of JSON files or in a package, the `.tgz` that guides are published as.
//!
//! Spec: <https://confluence.hl7.org/display/FHIR/NPM+Package+Specification>. Left out: dependencies, which are to be
//! named too, and whatever is neither StructureDefinition, ValueSet, CodeSystem nor ConceptMap.

use std::fs::File;
use std::io::{Read, Take};
use std::path::Path;
use std::sync::Arc;

use fhir_core::json::{Document, ValueRef};
use fhir_core::terminology::Kind;
use flate2::read::GzDecoder;

/// Largest single file read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Largest package, unpacked, in bytes; the whole of R4 has 200 MB.
const PACKAGE_BYTES_MAX: u64 = 1 << 30;

/// A block of a tar archive.
const BLOCK_BYTES: usize = 512;

/// Adds every definition found.
pub fn read(path: &Path, found: &mut Vec<Arc<Document>>) -> Result<(), String> {
    if path.is_dir() {
        return folder(path, found);
    }
    let is_archive = path.extension().is_some_and(|e| e == "tgz" || e == "gz");
    if !is_archive {
        return Err("give a folder or a `.tgz` package".to_owned());
    }
    let file = File::open(path).map_err(|e| e.to_string())?;
    archive(GzDecoder::new(file).take(PACKAGE_BYTES_MAX), found)
}

fn folder(path: &Path, found: &mut Vec<Arc<Document>>) -> Result<(), String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| e.to_string())? {
        let file = entry.map_err(|e| e.to_string())?.path();
        if file.is_file() && file.extension().is_some_and(|e| e == "json") {
            files.push(file);
        }
    }
    files.sort();
    for file in files {
        let name = || {
            file.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let size = std::fs::metadata(&file)
            .map_err(|e| format!("{}: {e}", name()))?
            .len();
        if size > FILE_BYTES_MAX {
            return Err(format!("{}: more than {FILE_BYTES_MAX} bytes", name()));
        }
        let bytes = std::fs::read(&file).map_err(|e| format!("{}: {e}", name()))?;
        add(&name(), &bytes, found)?;
    }
    Ok(())
}

/// Reads a tar archive block by block.
fn archive(mut from: Take<impl Read>, found: &mut Vec<Arc<Document>>) -> Result<(), String> {
    let mut header = [0_u8; BLOCK_BYTES];
    loop {
        match from.read_exact(&mut header) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e.to_string()),
        }
        if header.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let text = |range: std::ops::Range<usize>| {
            let bytes = header.get(range).unwrap_or_default();
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(bytes.get(..end).unwrap_or_default())
                .trim()
                .to_owned()
        };
        let name = text(0..100);
        let size =
            u64::from_str_radix(&text(124..136), 8).map_err(|_| "not a tar archive".to_owned())?;
        if size > FILE_BYTES_MAX {
            return Err(format!("{name}: more than {FILE_BYTES_MAX} bytes"));
        }
        let is_file = matches!(header.get(156), Some(b'0' | 0));
        let mut bytes = Vec::new();
        let read = from
            .by_ref()
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|e| e.to_string())?;
        if u64::try_from(read).ok() != Some(size) {
            return Err("the archive ends in the middle of a file, or is too large".to_owned());
        }
        let block = u64::try_from(BLOCK_BYTES).unwrap_or(512);
        let padding = (block - size % block) % block;
        std::io::copy(&mut from.by_ref().take(padding), &mut std::io::sink())
            .map_err(|e| e.to_string())?;
        // Examples lie deeper; definitions lie directly in `package/`.
        let is_definition = name
            .strip_prefix("package/")
            .is_some_and(|n| !n.contains('/'));
        if is_file && is_definition && name.ends_with(".json") {
            add(&name, &bytes, found)?;
        }
    }
}

fn add(name: &str, bytes: &[u8], found: &mut Vec<Arc<Document>>) -> Result<(), String> {
    let document = Document::parse(bytes).map_err(|e| format!("{name}: {e}"))?;
    let resource_type = document
        .root()
        .get("resourceType")
        .and_then(ValueRef::as_str);
    let is_one = resource_type.is_some_and(|t| Kind::named(&t).is_some());
    if is_one && document.root().get("url").is_some() {
        found.push(Arc::new(document));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const DEFINITION: &str =
        r#"{"resourceType":"ValueSet","url":"http://x.example/vs","status":"draft"}"#;

    fn tar(name: &str, content: &str) -> Vec<u8> {
        let mut block = vec![0_u8; BLOCK_BYTES];
        block[..name.len()].copy_from_slice(name.as_bytes());
        let size = format!("{:011o}", content.len());
        block[124..135].copy_from_slice(size.as_bytes());
        block[156] = b'0';
        block.extend_from_slice(content.as_bytes());
        block.resize(block.len().div_ceil(BLOCK_BYTES) * BLOCK_BYTES, 0);
        block
    }

    fn packed(files: &[(&str, &str)]) -> tempfile::TempPath {
        let file = tempfile::Builder::new().suffix(".tgz").tempfile().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        for (name, content) in files {
            gzip.write_all(&tar(name, content)).unwrap();
        }
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap().into_temp_path()
    }

    /// Verifies: SRS-182
    #[test]
    fn packages_and_folders_are_read() {
        let package = packed(&[
            ("package/package.json", "{\"name\":\"x\"}"),
            ("package/ValueSet-a.json", DEFINITION),
            ("package/example/ValueSet-b.json", DEFINITION),
            ("package/.index.json", "{}"),
        ]);
        let mut found = Vec::new();
        read(&package, &mut found).unwrap();
        assert_eq!(found.len(), 1);

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), DEFINITION).unwrap();
        std::fs::write(folder.path().join("b.txt"), "x").unwrap();
        let mut found = Vec::new();
        read(folder.path(), &mut found).unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut found = Vec::new();
        assert!(read(Path::new("/nowhere/x.tgz"), &mut found).is_err());
        assert!(
            read(Path::new("/nowhere/x.zip"), &mut found)
                .unwrap_err()
                .contains(".tgz")
        );
        let broken = packed(&[("package/a.json", "{")]);
        assert!(
            read(&broken, &mut found)
                .unwrap_err()
                .starts_with("package/a.json")
        );
    }
}
