//! A command on a real pseudo-terminal: its standard error and input are the terminal, its standard output is
//! a pipe, as where somebody writes the table to a file.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Opens the terminal, starts the command as the leader of its session, and types. What is typed goes
/// through the line discipline: 0x03 is a Ctrl-C. Each step is told in a line, and what is to be typed comes as one;
/// the last is typed again and again until the command ends, if that is wanted. Arguments: the plan, the folder, the
/// command.
const SCRIPT: &str = r#"
import fcntl, json, os, pty, re, select, signal, struct, sys, termios
plan, folder, command = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:]
out_read, out_write = os.pipe()
pid, terminal = pty.fork()
if pid == 0:
    os.dup2(out_write, 1)
    os.close(out_read)
    os.close(out_write)
    os.chdir(folder)
    os.execve(command[0], command, {"TERM": "xterm"})
os.close(out_write)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, plan["columns"], 0, 0))
TICK, QUIET, SILENT = 0.1, 20, 600
screen, out, seen, idle, steps, typed = b"", b"", 0, 0, plan["steps"], b""

def step(end):
    global seen, steps, typed
    seen, steps = end, steps[1:]
    print("step", flush=True)
    typed = json.loads(sys.stdin.readline()).encode()
    os.write(terminal, typed)

sources = {terminal, out_read}
while sources:
    ready = select.select(list(sources), [], [], TICK)[0]
    idle = 0 if ready else idle + 1
    if idle == SILENT:
        os.kill(pid, signal.SIGKILL)
        sys.exit("nothing came for a minute: %r" % screen)
    for source in ready:
        try:
            data = os.read(source, 65536)
        except OSError:
            data = b""
        if not data:
            sources.discard(source)
        elif source == terminal:
            screen += data
        else:
            out += data
    if terminal not in sources:
        pass
    elif not steps:
        if plan["again"] and not ready:
            os.write(terminal, typed)
    elif steps[0] is None:
        if idle >= QUIET:
            step(len(screen))
    elif found := re.search(steps[0].encode(), screen[seen:]):
        step(seen + found.end())
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps({"code": code, "screen": screen.decode(), "out": out.decode(), "left": steps}))
"#;

/// Columns of the terminal.
const COLUMNS: usize = 60;

/// What happened on a terminal.
pub(crate) struct Terminal {
    pub(crate) code: i64,
    /// Everything that was written to it.
    pub(crate) raw: String,
    pub(crate) out: String,
}

/// A command that is to be run.
pub(crate) struct Plan<'a> {
    pub(crate) command: &'a [String],
    pub(crate) folder: &'a str,
    /// What is waited for on the terminal, one after the other: a regular expression of Python; `None`: that nothing was
    /// written for two seconds.
    pub(crate) steps: &'a [Option<&'a str>],
    /// Whether what was typed last is typed again and again.
    pub(crate) again: bool,
}

impl Terminal {
    /// Runs it; `step` is called at each step, by its number, and gives what is typed.
    pub(crate) fn run(plan: &Plan<'_>, mut step: impl FnMut(usize) -> &'static str) -> Self {
        let Plan { command, folder, steps, again } = plan;
        let arguments = json!({"columns": COLUMNS, "steps": steps, "again": again}).to_string();
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT, &arguments, folder])
            .args(*command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut last = String::new();
        let mut number = 0;
        for line in BufReader::new(stdout).lines() {
            last = line.unwrap();
            if last == "step" {
                writeln!(stdin, "{}", json!(step(number))).unwrap();
                number += 1;
            }
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
        let ran: Value = serde_json::from_str(&last).unwrap();
        let text = |name: &str| ran[name].as_str().unwrap().to_owned();
        assert_eq!(ran["left"], json!([]), "never came: {}", text("screen"));
        Self { code: ran["code"].as_i64().unwrap(), raw: text("screen"), out: text("out") }
    }

    /// What stands on it in the end, as a terminal of [`COLUMNS`] columns shows it: enough of one for a line that is drawn
    /// over and cleared, with and without a break at the right edge.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![Vec::new()];
        let (mut row, mut column, mut wraps) = (0, 0, true);
        let mut left = self.raw.as_str();
        while let Some(c) = left.chars().next() {
            let sequences = [("\x1b[K", 'K'), ("\x1b[?7l", 'l'), ("\x1b[?7h", 'h')];
            let sequence = sequences.iter().find(|(text, _)| left.starts_with(text));
            left = &left[sequence.map_or(c.len_utf8(), |(text, _)| text.len())..];
            match (sequence.map(|(_, kind)| kind), c) {
                (Some('K'), _) => lines[row].truncate(column),
                (Some('l'), _) => wraps = false,
                (Some(_), _) => wraps = true,
                (None, '\r') => column = 0,
                (None, '\n') => {
                    row += 1;
                    lines.push(Vec::new());
                }
                (None, c) => {
                    if column == COLUMNS && wraps {
                        (row, column) = (row + 1, 0);
                        lines.push(Vec::new());
                    }
                    let at = column.min(COLUMNS - 1);
                    let width = lines[row].len().max(at + 1);
                    lines[row].resize(width, ' ');
                    lines[row][at] = c;
                    column = (column + 1).min(COLUMNS);
                }
            }
        }
        lines.into_iter().map(|line| line.into_iter().collect()).collect()
    }
}

/// True if there is Python for the terminal. Else says so, loudly, or fails where the real parts are required.
pub(crate) fn is_there() -> bool {
    tidewire_testkit::tools::program("python3", "--version", "python3").unwrap()
}
