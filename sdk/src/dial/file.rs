//! Small files that are read anew at every connection.

use std::{io, path::Path};

use tokio::io::AsyncReadExt;

/// The content of a file that is no longer than so many KiB; otherwise why not.
pub(super) async fn read(path: &Path, longest_kib: u64) -> Result<Vec<u8>, String> {
    let longest = longest_kib * 1024;
    let read = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(longest + 1).read_to_end(&mut bytes).await?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = read.await.map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes.len() as u64 > longest {
        return Err(format!("{}: longer than {longest_kib} KiB", path.display()));
    }
    Ok(bytes)
}
