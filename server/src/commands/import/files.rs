//! Which files are imported, and their bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// Folders inside folders at most.
const DEPTH_MAX: usize = 32;

/// Largest Bundle file read, in bytes, unpacked: it has to fit into memory, several at a time.
pub const BUNDLE_BYTES_MAX: u64 = 1 << 30;

/// Form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One resource, often a Bundle.
    Json,
    /// One resource a line.
    Ndjson,
}

/// A file to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its form.
    pub form: Form,
    /// Its size on disk.
    pub bytes: u64,
}

/// All files of these paths, folders searched, in the order of their names.
///
/// # Errors
/// A path that cannot be read, or a file named by hand with an unknown ending.
pub fn collect(paths: &[PathBuf]) -> Result<Vec<SourceFile>, String> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, 0, &mut files)?;
            continue;
        }
        let form = form(path).ok_or_else(|| {
            format!(
                "{}: the name must end with .json, .ndjson, .json.gz or .ndjson.gz",
                path.display()
            )
        })?;
        files.push(source_file(path, form)?);
    }
    if files.is_empty() {
        return Err("there is no .json or .ndjson file in these paths".to_owned());
    }
    Ok(files)
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<SourceFile>) -> Result<(), String> {
    if depth >= DEPTH_MAX {
        return Err(format!(
            "{}: more than {DEPTH_MAX} folders deep",
            folder.display()
        ));
    }
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    let entries: Result<Vec<_>, _> = std::fs::read_dir(folder).map_err(fail)?.collect();
    let mut paths: Vec<PathBuf> = entries
        .map_err(fail)?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if let Some(form) = form(&path) {
            files.push(source_file(&path, form)?);
        }
    }
    Ok(())
}

fn source_file(path: &Path, form: Form) -> Result<SourceFile, String> {
    let bytes = std::fs::metadata(path)
        .map_err(|e| format!("{}: {e}", path.display()))?
        .len();
    Ok(SourceFile {
        path: path.to_owned(),
        form,
        bytes,
    })
}

fn form(path: &Path) -> Option<Form> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit('.').next()? {
        "json" => Some(Form::Json),
        "ndjson" | "jsonl" => Some(Form::Ndjson),
        _ => None,
    }
}

/// A reader of the unpacked bytes.
///
/// # Errors
/// When the file cannot be opened.
pub fn open(file: &SourceFile) -> std::io::Result<Box<dyn BufRead + Send>> {
    /// Bytes read from disk at a time.
    const BUFFER_BYTES: usize = 256 * 1024;
    let raw = File::open(&file.path)?;
    let is_packed = file
        .path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    if is_packed {
        Ok(Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            MultiGzDecoder::new(raw),
        )))
    } else {
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, raw)))
    }
}

/// The whole unpacked text.
///
/// # Errors
/// When it cannot be read, is not UTF-8 or longer than [`BUNDLE_BYTES_MAX`].
pub fn read_whole(file: &SourceFile) -> Result<String, String> {
    let mut text = String::new();
    let reader = open(file).map_err(|e| e.to_string())?;
    reader
        .take(BUNDLE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|e| e.to_string())?;
    if text.len() as u64 > BUNDLE_BYTES_MAX {
        return Err(format!(
            "longer than {BUNDLE_BYTES_MAX} bytes; split it or use NDJSON"
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn folders_are_searched_and_packed_files_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        write("a.ndjson", b"{}\n{}\n");
        write("notes.txt", b"not ours");
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"{\"a\":1}").unwrap();
        write("b/c.json.gz", &packer.finish().unwrap());
        let files = collect(&[folder.path().to_owned()]).unwrap();
        assert_eq!(
            files.iter().map(|file| file.form).collect::<Vec<_>>(),
            [Form::Ndjson, Form::Json]
        );
        assert_eq!(read_whole(&files[1]).unwrap(), "{\"a\":1}");
        assert!(
            collect(&[folder.path().join("notes.txt")])
                .unwrap_err()
                .contains("must end with")
        );
        assert!(collect(&[folder.path().join("absent.json")]).is_err());
    }
}
