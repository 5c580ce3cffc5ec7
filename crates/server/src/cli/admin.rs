//! The commands of administration: `drystone user`, `group`, `policy`, `key`, `role`, `account`,
//! `session`, `kms`, `explain`. They speak to the running server by its unix socket.

mod buckets;
mod drives;
mod kms;
mod mfa;
mod sessions;
mod show;

pub(crate) use buckets::{BucketCommand, LockCommand};
pub(crate) use drives::{DriveCommand, VerifyArguments, verify};
pub(crate) use kms::KmsCommand;
pub(crate) use mfa::MfaCommand;
pub(crate) use sessions::SessionCommand;

use super::{CommandResult, print, print_json};
use crate::running;
use crate::socket;
use clap::{Args, Subcommand};
use drystone_admin_api::{Answer, Failure, Holder, PATH, Request};
use drystone_base::Timestamp;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::net::UnixStream;

/// Where the server is, and how to print.
#[derive(Args)]
pub(crate) struct AdminOptions {
    /// Directory of the running server's drive; of several drives, any one [default: the only
    /// server of this user that runs]. Also DRYSTONE_AT.
    #[arg(long, global = true)]
    at: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user without any rights.
    Add { name: String },
    /// List users.
    List,
    /// Show a user: policies, permissions boundary, groups.
    Info { name: String },
    /// Remove a user with all of its keys.
    Remove { name: String },
    /// Enable a user: its keys are accepted again.
    Enable { name: String },
    /// Disable a user: requests with its keys and sessions are refused.
    Disable { name: String },
    /// End the sessions that a user has now; the same as `session revoke --user NAME`.
    EndSessions { name: String },
}

#[derive(Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group.
    Add { name: String },
    /// List groups.
    List,
    /// Show a group and its members.
    Info { name: String },
    /// Remove a group without members.
    Remove { name: String },
    /// Enable a group: its policies apply to its members again.
    Enable { name: String },
    /// Disable a group: its policies apply to no one.
    Disable { name: String },
    /// Put users into a group.
    Join {
        group: String,
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Take users out of a group.
    Leave {
        group: String,
        #[arg(required = true)]
        users: Vec<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    /// Make a policy, or a new version of it that applies at once.
    Set {
        name: String,
        /// File with the policy in AWS's policy language, as JSON (- for standard input).
        file: PathBuf,
    },
    /// List policies.
    List,
    /// Print the text of a policy.
    Info { name: String },
    /// Remove a policy that is attached to nothing.
    Remove { name: String },
    /// Attach policies to a user, a group, a role or a name of the LDAP server.
    Attach(Attachment),
    /// Detach policies from a user, a group, a role or a name of the LDAP server.
    Detach(Attachment),
}

#[derive(Args)]
pub(crate) struct Attachment {
    /// Names of policies.
    #[arg(required = true)]
    policies: Vec<String>,
    #[command(flatten)]
    holder: HolderArguments,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct HolderArguments {
    /// This user.
    #[arg(long)]
    user: Option<String>,
    /// This group.
    #[arg(long)]
    group: Option<String>,
    /// This role.
    #[arg(long)]
    role: Option<String>,
    /// This distinguished name of the LDAP server, of a user or a group.
    #[arg(long)]
    ldap_name: Option<String>,
}

/// Whose a new key is.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct KeyOwner {
    /// User that the key is for.
    #[arg(long)]
    user: Option<String>,
    /// The key is one of the owner of the server, who may do everything.
    #[arg(long)]
    root: bool,
}

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it, once.
    Add {
        #[command(flatten)]
        owner: KeyOwner,
        /// Access key id; chosen at random if left out.
        #[arg(long)]
        access_key: Option<String>,
        /// File with the secret (- for standard input); chosen at random if left out.
        #[arg(long)]
        secret_file: Option<PathBuf>,
        /// File with a policy that limits the key to a part of what the user may do. Such a key manages no
        /// keys.
        #[arg(long)]
        policy_file: Option<PathBuf>,
        /// When the key expires, as 2030-01-31 or 2030-01-31T12:00:00Z.
        #[arg(long)]
        expires: Option<String>,
        /// Note that `key list` shows.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the keys of a user, or of the owner of the server.
    List {
        /// User; the owner of the server if left out.
        #[arg(long)]
        user: Option<String>,
    },
    /// Enable a key: it is accepted again.
    Enable { access_key: String },
    /// Disable a key: requests with it are refused.
    Disable { access_key: String },
    /// Remove a key.
    Remove { access_key: String },
    /// Sign session tokens with a new key from now on. Sessions that exist stay valid.
    RotateSigning,
}

#[derive(Subcommand)]
pub(crate) enum RoleCommand {
    /// Make a role, or change who may assume it. Its rights come from `policy attach --role`.
    Set {
        name: String,
        /// File with the trust policy (- for standard input): JSON whose statements name a Principal and the
        /// action sts:AssumeRole.
        trust_file: PathBuf,
    },
    /// List roles.
    List,
    /// Remove a role that has no policies attached.
    Remove { name: String },
}

#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account and print the keys of its owner, once.
    Add {
        /// Id of 12 digits.
        id: String,
        name: String,
    },
    /// List accounts.
    List,
}

type Made = Result<Request, Box<dyn Error>>;

/// The text of a file, or of standard input for `-`.
fn text_of(path: &Path) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// The JSON of a file, as servers take it: nothing before the first brace, such as the indentation of an
/// example that was copied, or the mark by which an editor begins a file of UTF-8.
fn document_of(path: &Path) -> Result<String, Box<dyn Error>> {
    Ok(text_of(path)?.trim_start_matches('\u{feff}').trim().to_owned())
}

impl UserCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Add { name } => Request::UserAdd { name },
            Self::List => Request::UserList,
            Self::Info { name } => Request::UserInfo { name },
            Self::Remove { name } => Request::UserRemove { name },
            Self::Enable { name } => Request::UserEnable { name, enabled: true },
            Self::Disable { name } => Request::UserEnable { name, enabled: false },
            Self::EndSessions { name } => Request::UserEndSessions { name },
        })
    }
}

impl GroupCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Add { name } => Request::GroupAdd { name },
            Self::List => Request::GroupList,
            Self::Info { name } => Request::GroupInfo { name },
            Self::Remove { name } => Request::GroupRemove { name },
            Self::Enable { name } => Request::GroupEnable { name, enabled: true },
            Self::Disable { name } => Request::GroupEnable { name, enabled: false },
            Self::Join { group, users } => Request::GroupMembers { name: group, users, add: true },
            Self::Leave { group, users } => {
                Request::GroupMembers { name: group, users, add: false }
            }
        })
    }
}

impl Attachment {
    fn request(self, attach: bool) -> Made {
        let HolderArguments { user, group, role, ldap_name } = self.holder;
        let holder = user.map(Holder::User).or(group.map(Holder::Group));
        let holder = holder.or(role.map(Holder::Role)).or(ldap_name.map(Holder::LdapName));
        let holder = holder.ok_or("name a user, a group, a role or a name of LDAP")?;
        Ok(Request::PolicyAttach { policies: self.policies, holder, attach })
    }
}

impl PolicyCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Set { name, file } => Request::PolicySet { name, document: document_of(&file)? },
            Self::List => Request::PolicyList,
            Self::Info { name } => Request::PolicyInfo { name },
            Self::Remove { name } => Request::PolicyRemove { name },
            Self::Attach(attachment) => return attachment.request(true),
            Self::Detach(attachment) => return attachment.request(false),
        })
    }
}

impl KeyCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Add { owner, access_key, secret_file, policy_file, expires, description } => {
                let secret = secret_file.map(|path| text_of(&path)).transpose()?;
                let end = |text: String| {
                    let end = Timestamp::parse_iso(&text).map(|end| end.0);
                    end.ok_or_else(|| format!("{text} is no date such as 2030-01-31"))
                };
                Request::KeyAdd {
                    user: owner.user,
                    access_key,
                    secret_key: secret.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
                    policy: policy_file.map(|path| document_of(&path)).transpose()?,
                    expires_ms: expires.map(end).transpose()?,
                    description,
                }
            }
            Self::List { user } => Request::KeyList { user },
            Self::Enable { access_key } => Request::KeyEnable { access_key, enabled: true },
            Self::Disable { access_key } => Request::KeyEnable { access_key, enabled: false },
            Self::Remove { access_key } => Request::KeyRemove { access_key },
            Self::RotateSigning => Request::RotateSigningKey,
        })
    }
}

impl RoleCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Set { name, trust_file } => {
                Request::RoleSet { name, trust: document_of(&trust_file)? }
            }
            Self::List => Request::RoleList,
            Self::Remove { name } => Request::RoleRemove { name },
        })
    }
}

impl AccountCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Add { id, name } => Request::AccountAdd { id, name },
            Self::List => Request::AccountList,
        })
    }
}

/// Sends a request to the running server and prints the answer.
pub(crate) fn run(options: &AdminOptions, request: &Request) -> CommandResult {
    let answer = ask(options, request)?;
    match (request, &answer) {
        (Request::KeyAdd { user, .. }, Answer::Secret { .. }) => {
            show_key(options, &answer, user.as_deref())?;
        }
        _ => show(options, &answer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a new key, and whose it is.
fn show_key(
    options: &AdminOptions,
    answer: &Answer,
    user: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    let holder = user.map_or_else(|| "the owner of the server".to_owned(), |u| format!("user {u}"));
    if !options.json {
        print(&format!("Holder      {holder}\n{}", show::readable(answer)));
        return Ok(());
    }
    let mut value = serde_json::to_value(answer)?;
    if let Some(pair) = value.get_mut("secret").and_then(serde_json::Value::as_object_mut) {
        pair.insert("holder".to_owned(), holder.into());
    }
    print_json(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    Ok(())
}

/// Explains why a request was refused, or all that are remembered. Fails if there is none with the id.
pub(crate) fn explain(options: &AdminOptions, request_id: String) -> CommandResult {
    let answer = ask(options, &Request::Explain { request_id: request_id.clone() })?;
    let is_none = matches!(&answer, Answer::Refusals(refusals) if refusals.is_empty());
    if is_none && !request_id.is_empty() {
        return Err(format!(
            "no refusal of a request with the id {request_id} is remembered: the server keeps the last ones, \
             until it stops, and only those that policies decided on, not wrong signatures or keys; without \
             an id, all of them are shown"
        )
        .into());
    }
    show(options, &answer)?;
    Ok(ExitCode::SUCCESS)
}

fn show(options: &AdminOptions, answer: &Answer) -> Result<(), Box<dyn Error>> {
    match options.json {
        true => print_json(&format!("{}\n", serde_json::to_string_pretty(answer)?)),
        false => print(&show::readable(answer)),
    }
    Ok(())
}

/// Sends a request to the running server.
fn ask(options: &AdminOptions, request: &Request) -> Result<Answer, Box<dyn Error>> {
    let at = match &options.at {
        Some(at) => Some(at.clone()),
        None => crate::config::setting("AT")?.map(|given| PathBuf::from(given.value)),
    };
    let at = match at {
        Some(at) => at,
        None => only_server(running::servers())?,
    };
    let path = at.join(socket::FILE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(send(&path, request))?;
    if status >= 400 {
        let failure: Failure = serde_json::from_slice(&body)?;
        return Err(failure.message.into());
    }
    Ok(serde_json::from_slice(&body)?)
}

/// The only server of this user that runs.
fn only_server(mut running: Vec<PathBuf>) -> Result<PathBuf, Box<dyn Error>> {
    match running.len() {
        1 => Ok(running.remove(0)),
        0 => Err("no running server of this user was found; say where a drive of it is: --at DIRECTORY, or \
                  DRYSTONE_AT"
            .into()),
        count => {
            let all: Vec<String> = running.iter().map(|home| format!("--at {}", home.display())).collect();
            Err(format!("{count} servers of this user run; say which: {}", all.join(", or ")).into())
        }
    }
}

async fn send(path: &Path, request: &Request) -> Result<(u16, Vec<u8>), Box<dyn Error>> {
    let stream = UnixStream::connect(path).await.map_err(|error| {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let why = match error.kind() {
            NotFound => "no server was started on this directory; name a drive of a running server with --at",
            ConnectionRefused => "no server runs on this directory now; start it first",
            PermissionDenied => "only the user that the server runs as, and root, may use it",
            _ => "is it running?",
        };
        format!("no server answers at {}: {error}: {why}", path.display())
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let body = Full::new(bytes::Bytes::from(serde_json::to_vec(request)?));
    let request = http::Request::post(PATH).header("host", "localhost").body(body)?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes().to_vec();
    connection.abort();
    Ok((status, body))
}
