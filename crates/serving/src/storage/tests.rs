use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::location::{Location, Store, shown};
use super::*;

fn mirror(prefix: &str, target: Target) -> Mirror {
    Mirror {
        prefix: prefix.into(),
        target,
    }
}

fn settings() -> StorageSettings {
    StorageSettings {
        mirrors: vec![
            mirror("gs://examples/", Target::Folder("/mirror".into())),
            mirror("gs://examples/deep/", Target::Folder("/deeper".into())),
            mirror(
                "s3://models",
                Target::Url("https://files.example.com/m/".into()),
            ),
            mirror("hf://", Target::Url("gs://hub".into())),
        ],
        claims: [("ns/data".to_owned(), PathBuf::from("/claims/data"))].into(),
        claim_root: Some("/volumes".into()),
        ..StorageSettings::default()
    }
}

fn folder(path: &str, root: Option<&str>) -> Location {
    Location::Folder {
        path: path.into(),
        root: root.map(PathBuf::from),
    }
}

#[test]
fn uris_become_places() {
    let check = |uri: &str, expected: Location| {
        assert_eq!(
            Location::resolve(uri, "ns", &settings()),
            Ok(expected),
            "{uri}"
        );
    };
    check(
        "gs://examples/a/model.joblib",
        folder("/mirror/a/model.joblib", Some("/mirror")),
    );
    check("gs://examples/", folder("/mirror", Some("/mirror")));
    check("gs://examples/deep/x", folder("/deeper/x", Some("/deeper")));
    check(
        "gs://examples/deeper",
        folder("/mirror/deeper", Some("/mirror")),
    );
    check(
        "s3://models/a.pkl",
        Location::Http("https://files.example.com/m/a.pkl".parse().unwrap()),
    );
    check(
        "hf://o/m",
        Location::Bucket {
            store: Store::Google {
                bucket: "hub".into(),
            },
            key: "o/m".into(),
        },
    );
    check(
        "s3://models-2/a/",
        Location::Bucket {
            store: Store::S3 {
                bucket: "models-2".into(),
            },
            key: "a".into(),
        },
    );
    check(
        "gs://other",
        Location::Bucket {
            store: Store::Google {
                bucket: "other".into(),
            },
            key: String::new(),
        },
    );
    check(
        "pvc://data/iris",
        folder("/claims/data/iris", Some("/claims/data")),
    );
    check(
        "pvc://more/iris",
        folder("/volumes/ns/more/iris", Some("/volumes/ns/more")),
    );
    check("file:///a/b", folder("/a/b", None));
    check("/a/b", folder("/a/b", None));
}

#[test]
fn uris_that_lead_elsewhere_are_refused() {
    let check = |uri: &str, expected: &str| {
        let error = Location::resolve(uri, "ns", &settings())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{uri}: {error}");
    };
    for uri in [
        "gs://examples/../etc",
        "gs://examples/a/../../etc",
        "gs://examples/a\0b",
        "s3://models/%2e%2E/secret.pkl",
        "s3://models/..\\secret.pkl",
        "pvc://data/../../etc",
        "gs://other/../x",
        "file:///a/../b",
        "/a/..",
    ] {
        check(uri, "leaves its folder");
    }
    check("ftp://h/m", "expected `gs://`");
    check("model.joblib", "expected `gs://`");
    check("gs:///x", "not a bucket name");
    check("gs://a@b/x", "not a bucket name");
    check("pvc://../x", "expected `pvc://claim/path`");
    check("http://", "not well formed");
    let bare = StorageSettings::default();
    let error = Location::resolve("pvc://data/x", "ns", &bare).unwrap_err();
    assert_eq!(
        error.to_string(),
        "storageUri `pvc://data/x` names claim `data`, and no folder stands for it here"
    );
}

#[test]
fn messages_show_no_secret_of_a_uri() {
    for (uri, expected) in [
        ("https://u:p@h/a?sig=s#f", "https://h/a"),
        ("https://h?x", "https://h"),
        ("gs://b/k", "gs://b/k"),
        ("plain?x", "plain"),
    ] {
        assert_eq!(shown(uri), expected);
    }
    let credentials = S3Credentials {
        access_key_id: "id".into(),
        secret_access_key: "hush".into(),
    };
    assert!(!format!("{credentials:?}").contains("hush"));
}

/// A storage with `/mirror/` on a new folder, and at most 100 bytes.
fn mirrored() -> (TempDir, Storage) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let storage = Storage::new(StorageSettings {
        mirrors: vec![mirror("gs://m/", Target::Folder(root))],
        max_bytes: 100,
        ..StorageSettings::default()
    });
    (dir, storage)
}

async fn fetch(storage: &Storage, uri: &str) -> Result<(String, Vec<u8>), String> {
    storage
        .fetch("ns", uri, Format::Sklearn)
        .await
        .map(|file| (file.name, file.bytes.to_vec()))
        .map_err(|error| error.to_string())
}

fn write(root: &Path, files: &[(&str, usize)]) {
    for (name, size) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; *size]).unwrap();
    }
}

#[tokio::test]
async fn folders_are_searched_and_bounded() {
    let (dir, storage) = mirrored();
    let root = dir.path().join("root");
    write(
        &root,
        &[
            ("one/model.joblib", 100),
            ("one/README.md", 5),
            ("one/old.joblib/model.joblib", 5),
            ("two/a.pkl", 1),
            ("two/b.joblib", 1),
            ("none/model.bst", 1),
            ("big/model.pkl", 101),
        ],
    );
    let large = |uri: &str| Err(format!("`{uri}` is larger than the limit of 100 bytes"));
    for (uri, expected) in [
        ("gs://m/one", Ok("model.joblib")),
        ("gs://m/one/", Ok("model.joblib")),
        ("gs://m/one/model.joblib", Ok("model.joblib")),
        ("gs://m/two/a.pkl", Ok("a.pkl")),
        (
            "gs://m/two",
            Err("no model found in `gs://m/two`: More than one model file is detected, Only one is \
                 allowed within model_dir: [a.pkl, b.joblib]"
                .to_owned()),
        ),
        (
            "gs://m/none",
            Err("no model found in `gs://m/none`: expected one file ending in .joblib, .pkl, .pickle \
                 or .skops, found `model.bst`"
                .to_owned()),
        ),
        ("gs://m/gone", Err("`gs://m/gone` does not exist".to_owned())),
        ("gs://m/big", large("gs://m/big")),
        ("gs://m/big/model.pkl", large("gs://m/big/model.pkl")),
        (
            "gs://m/model.tar.gz",
            Err("`model.tar.gz` of `gs://m/model.tar.gz` is an archive, which is not unpacked: \
                 name the model file or its folder"
                .to_owned()),
        ),
    ] {
        let found = fetch(&storage, uri).await.map(|(name, _)| name);
        assert_eq!(found, expected.map(str::to_owned), "{uri}");
    }
}

#[tokio::test]
async fn links_may_not_leave_the_folder_of_a_mirror() {
    let (dir, storage) = mirrored();
    let root = dir.path().join("root");
    write(
        dir.path(),
        &[("secret/model.joblib", 3), ("root/in/model.joblib", 3)],
    );
    symlink(dir.path().join("secret"), root.join("folder")).unwrap();
    fs::create_dir(root.join("file")).unwrap();
    symlink(
        dir.path().join("secret/model.joblib"),
        root.join("file/model.joblib"),
    )
    .unwrap();
    symlink(root.join("in"), root.join("within")).unwrap();
    for uri in [
        "gs://m/folder",
        "gs://m/folder/model.joblib",
        "gs://m/file",
        "gs://m/file/model.joblib",
    ] {
        let error = fetch(&storage, uri).await.unwrap_err();
        assert!(error.contains("leaves its folder"), "{uri}: {error}");
    }
    assert!(fetch(&storage, "gs://m/within").await.is_ok());
}

#[tokio::test]
async fn a_socket_is_not_a_model() {
    let (dir, storage) = mirrored();
    let path = dir.path().join("root/model.joblib");
    let _socket = std::os::unix::net::UnixListener::bind(path).unwrap();
    assert_eq!(
        fetch(&storage, "gs://m/").await,
        Err("`gs://m/` could not be read: expected a regular file".to_owned())
    );
}

/// A web server that answers every request for a path with the bytes given for
/// it, and 404 otherwise.
async fn web(pages: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                    match connection.read(&mut buffer).await {
                        Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let target = request.split(' ').nth(1).unwrap_or_default();
                let target = percent_encoding::percent_decode_str(target).decode_utf8_lossy();
                let answer = pages.iter().find(|(path, _)| *path == target).map_or(
                    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                    |(_, answer)| answer,
                );
                let _ = connection.write_all(answer.as_bytes()).await;
                if target.contains("stall") {
                    let _ = connection.read(&mut buffer).await;
                }
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn web_servers_are_bounded_in_size_and_time() {
    let base = web(&[
        ("/m/model.joblib?sig=1", "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"),
        ("/moved/model.joblib", "HTTP/1.1 302 Found\r\nlocation: /m/model.joblib?sig=1\r\ncontent-length: 0\r\n\r\n"),
        ("/loop/model.joblib", "HTTP/1.1 302 Found\r\nlocation: /loop/model.joblib\r\ncontent-length: 0\r\n\r\n"),
        ("/denied.pkl", "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
        ("/broken.pkl", "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"),
        ("/declared.pkl", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
        ("/chunked.pkl", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n4\r\nmore\r\n0\r\n\r\n"),
        ("/stall.pkl", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe"),
    ])
    .await;
    let bounded = StorageSettings {
        max_bytes: 8,
        ..StorageSettings::default()
    };
    let patient = Storage::new(bounded.clone());
    let hurried = Storage::new(StorageSettings {
        timeout: Duration::from_millis(50),
        ..bounded
    });
    for (path, expected) in [
        ("/m/model.joblib?sig=1", Ok("hello")),
        ("/moved/model.joblib", Ok("hello")),
        (
            "/loop/model.joblib",
            Err("`B/loop/model.joblib` could not be read: more redirects than 5"),
        ),
        ("/gone.pkl?sig=1", Err("`B/gone.pkl` does not exist")),
        (
            "/denied.pkl",
            Err("access to `B/denied.pkl` is denied: the server answered 403"),
        ),
        (
            "/broken.pkl",
            Err("`B/broken.pkl` could not be read: the server answered 500, expected 200"),
        ),
        (
            "/declared.pkl",
            Err("`B/declared.pkl` is larger than the limit of 8 bytes"),
        ),
        (
            "/chunked.pkl",
            Err("`B/chunked.pkl` is larger than the limit of 8 bytes"),
        ),
        (
            "/stall.pkl",
            Err("`B/stall.pkl` was not fetched within 0 seconds"),
        ),
        (
            "/m/",
            Err(
                "storageUri `B/m/` is not well formed: a web server's folder cannot be listed: name the model file",
            ),
        ),
        (
            "/index.html",
            Err(
                "no model found in `B/index.html`: expected one file ending in .joblib, .pkl, .pickle or .skops, found `index.html`",
            ),
        ),
    ] {
        let storage = if path == "/stall.pkl" {
            &hurried
        } else {
            &patient
        };
        let found = fetch(storage, &format!("{base}{path}")).await;
        let found = found
            .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
            .map_err(|error| error.replace(&base, "B"));
        assert_eq!(
            found,
            expected.map(str::to_owned).map_err(str::to_owned),
            "{path}"
        );
    }
}

#[tokio::test]
async fn buckets_are_searched_below_their_prefix() {
    let list = "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n\
        <?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><Prefix>iris/</Prefix>\
        <IsTruncated>false</IsTruncated>\
        <Contents><Key>iris/</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>0</Size></Contents>\
        <Contents><Key>iris/model.joblib</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>5</Size></Contents>\
        <Contents><Key>iris/old/model.joblib</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>5</Size></Contents>\
        </ListBucketResult>";
    let empty = "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n\
        <?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>";
    let object = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\netag: e\r\n\
        last-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\nhello";
    let pages: &'static [(&str, &str)] = Box::leak(Box::new([
        ("/b?list-type=2&prefix=iris/", list),
        ("/b/iris/model.joblib", object),
        ("/b?list-type=2&prefix=gone.pkl/", empty),
    ]));
    let endpoint: url::Url = web(pages).await.parse().unwrap();
    let storage = Storage::new(StorageSettings {
        objects: ObjectStoreSettings {
            gs_endpoint: Some(endpoint.clone()),
            s3_endpoint: Some(endpoint),
            ..ObjectStoreSettings::default()
        },
        ..StorageSettings::default()
    });
    for scheme in ["s3", "gs"] {
        for key in ["iris", "iris/", "iris/model.joblib"] {
            let found = fetch(&storage, &format!("{scheme}://b/{key}")).await;
            assert_eq!(
                found,
                Ok(("model.joblib".into(), b"hello".to_vec())),
                "{scheme} {key}"
            );
        }
        assert_eq!(
            fetch(&storage, &format!("{scheme}://b/gone.pkl")).await,
            Err(format!("`{scheme}://b/gone.pkl` does not exist"))
        );
        let missing_bucket = fetch(&storage, &format!("{scheme}://none/iris"))
            .await
            .unwrap_err();
        assert!(missing_bucket.contains("404 Not Found"), "{missing_bucket}");
    }
}
