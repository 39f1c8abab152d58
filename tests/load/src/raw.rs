//! The raw limits: the field's own load generators against the same servers.

use std::{error::Error, path::PathBuf, process::Command, time::Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// Debian puts some of these where only root's path looks.
pub(crate) fn tool(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];
    let found = folders.iter().map(|folder| PathBuf::from(folder).join(name));
    found.into_iter().find(|path| path.exists()).unwrap_or_else(|| name.into())
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Mails per second of 16 sessions that send one after the other on open connections.
pub(crate) fn smtp(address: &str, mails: usize) -> Result<f64, Box<dyn Error>> {
    let mails = mails.to_string();
    let begun = Instant::now();
    let ended = Command::new(tool("smtp-source"))
        .args(["-d", "-s", "16", "-l", "1000", "-m", &mails])
        .args(["-f", "news@cafe.example.org", "-t", "customer@mail.example.org", address])
        .status()
        .map_err(|error| format!("smtp-source (of Debian's postfix): {error}"))?;
    if !ended.success() {
        return Err(format!("smtp-source ended with {ended}").into());
    }
    Ok(mails.parse::<f64>()? / begun.elapsed().as_secs_f64())
}

/// Requests per second of 32 connections, each like one that sends an SMS.
pub(crate) fn http(
    url: &str,
    account: &str,
    token: &str,
    requests: usize,
) -> Result<f64, Box<dyn Error>> {
    let body = std::env::temp_dir().join(format!("carillon-bench-{}", std::process::id()));
    let callback = "http%3A%2F%2F127.0.0.1%3A7071%2Fcallbacks%2Fsms%2Ftwilio\
        %2F01a207b8-2ad7-7607-a3ab-70d0ce7a1331%2F20780%2F40ccf1a1-172e-5faf-abde-73ff75b1228f\
        %3Ftoken%3D40ccf1a1172e5fafabde73ff75b1228f";
    std::fs::write(
        &body,
        format!(
            "To=%2B12005550100&From=%2B15550100&ValidityPeriod=36000&StatusCallback={callback}\
             &Body=Hi+friend%2C+25+%25+off+hot+drinks+today."
        ),
    )?;
    let login = BASE64_STANDARD.encode(format!("{account}:{token}"));
    let target = format!("{url}/2010-04-01/Accounts/{account}/Messages.json");
    let begun = Instant::now();
    let output = Command::new(tool("h2load"))
        .args(["--h1", "-c", "32", "-n", &requests.to_string(), "-d"])
        .arg(&body)
        .args(["-H", &format!("authorization: Basic {login}")])
        .args(["-H", "content-type: application/x-www-form-urlencoded", &target])
        .output()
        .map_err(|error| format!("h2load (of Debian's nghttp2-client): {error}"))?;
    let took = begun.elapsed().as_secs_f64();
    std::fs::remove_file(&body)?;
    let told = String::from_utf8_lossy(&output.stdout);
    let succeeded = format!("{requests} succeeded");
    if !told.contains(&succeeded) {
        return Err(format!("h2load: not all requests succeeded:\n{told}").into());
    }
    Ok(requests as f64 / took)
}
