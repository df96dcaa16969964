//! The system's log, on this machine or another one, in the form of RFC 3164 that every syslog takes.

use std::io::{self, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::{LogError, now};

/// What the messages are said to come from.
const TAG: &str = "sublog";
/// The facility of system daemons.
const FACILITY: u8 = 3;
/// Where local syslogs listen.
const LOCAL: &[&str] = &["/dev/log", "/var/run/syslog", "/var/run/log"];
/// How long a remote syslog may take to let us in, or to take a line.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which syslog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Syslog {
    /// The one of this machine.
    Local,
    /// `udp://host:port`, `tcp://host:port`, `unixgram:///path`, or `host:port`, which is UDP.
    Remote(String),
}

/// An open way to a syslog.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    /// A remote one wants to know which machine speaks.
    host: Option<String>,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp { stream: Mutex<Option<TcpStream>>, address: String },
}

pub(super) fn connect(syslog: &Syslog) -> Result<Connection, LogError> {
    match syslog {
        Syslog::Local => {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for path in LOCAL {
                match unix(path) {
                    Ok(socket) => return Ok(Connection { socket: Socket::Unix(socket), host: None }),
                    Err(error) => last = error,
                }
            }
            Err(LogError::Syslog { address: LOCAL.join(", "), source: last })
        }
        Syslog::Remote(address) => {
            let failed = |source| LogError::Syslog { address: address.clone(), source };
            let socket = remote(address).map_err(failed)?;
            let host = matches!(socket, Socket::Unix(_)).then_some(None).unwrap_or_else(|| Some(host_name()));
            Ok(Connection { socket, host })
        }
    }
}

fn unix(path: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    // A syslog that does not read must not stop the server.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn remote(address: &str) -> io::Result<Socket> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("udp", address));
    match scheme {
        "udp" => {
            let to = rest.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            socket.connect(to)?;
            socket.set_nonblocking(true)?;
            Ok(Socket::Udp(socket))
        }
        "tcp" => Ok(Socket::Tcp { stream: Mutex::new(Some(tcp(rest)?)), address: rest.to_owned() }),
        "unix" | "unixgram" => unix(rest).map(Socket::Unix),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the address begins with udp://, tcp:// or unixgram://")),
    }
}

fn tcp(address: &str) -> io::Result<TcpStream> {
    let to = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// How bad it is, as syslog counts.
fn severity(label: &str) -> u8 {
    match label {
        "FTL" => 2,
        "ERR" => 3,
        "WRN" => 4,
        "INF" => 5,
        _ => 7,
    }
}

impl Connection {
    /// Sends one line. What cannot be sent at once is dropped.
    pub(super) fn send(&self, text: &str, label: &str) {
        let priority = FACILITY * 8 + severity(label);
        let pid = std::process::id();
        let time = now().to_zoned(TimeZone::system());
        let line = match &self.host {
            None => format!("<{priority}>{} {TAG}[{pid}]: {text}\n", time.strftime("%b %e %H:%M:%S")),
            Some(host) => {
                format!("<{priority}>{} {host} {TAG}[{pid}]: {text}\n", time.strftime("%Y-%m-%dT%H:%M:%S%:z"))
            }
        };
        match &self.socket {
            Socket::Unix(socket) => drop(socket.send(line.as_bytes())),
            Socket::Udp(socket) => drop(socket.send(line.as_bytes())),
            Socket::Tcp { stream, address } => {
                let mut stream = stream.lock();
                if stream.as_mut().is_none_or(|stream| stream.write_all(line.as_bytes()).is_err()) {
                    // Once more on a new connection; a syslog is restarted now and then.
                    *stream = tcp(address).ok().filter(|mut new| new.write_all(line.as_bytes()).is_ok());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_a_socket_and_say_how_bad_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        let connection = connect(&Syslog::Remote(format!("unixgram://{}", path.display()))).unwrap();
        connection.send("it is late", "WRN");
        let mut buffer = [0; 200];
        let read = socket.recv(&mut buffer).unwrap();
        let line = String::from_utf8_lossy(&buffer[..read]).into_owned();
        assert!(
            line.starts_with("<28>") && line.ends_with(&format!(" sublog[{}]: it is late\n", std::process::id())),
            "{line}"
        );
    }

    #[test]
    fn a_remote_one_is_told_the_host() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connection = connect(&Syslog::Remote(format!("udp://{}", socket.local_addr().unwrap()))).unwrap();
        connection.send("all is well", "INF");
        let mut buffer = [0; 400];
        let read = socket.recv(&mut buffer).unwrap();
        let line = String::from_utf8_lossy(&buffer[..read]).into_owned();
        assert!(line.starts_with("<29>20") && line.contains(&format!(" {} sublog[", host_name())), "{line}");
    }

    #[test]
    fn a_syslog_that_is_not_there_is_named() {
        let error = connect(&Syslog::Remote("unixgram:///nonexistent/log".to_owned())).unwrap_err().to_string();
        assert!(error.starts_with("cannot reach syslog at unixgram:///nonexistent/log: "), "{error}");
        assert!(connect(&Syslog::Remote("http://x:1".to_owned())).is_err());
    }
}
