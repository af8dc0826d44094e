"""The Debian package, made from the build folder and unpacked, never installed: what is in it, what it
needs, what its units allow, and that the program in it runs. Skipped (77) where it cannot be made.

TXC_BUILD names the build folder. Installation, upgrade and purge were tried by hand: docs/installing.md.
"""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
import unittest

ROOT = pathlib.Path(os.environ.get("TXCOORD_ROOT") or pathlib.Path(__file__).resolve().parents[2])
BUILD = pathlib.Path(os.environ.get("TXC_BUILD") or ROOT / "build" / "release")
SKIP = 77
UNITS = ("txcoord.service", "txcoord-participant@.service")
REFUSALS = {"2", "3"}  # exit codes that another start does not mend: docs/operating.md
EXPOSURE_MAX = 2.0     # of systemd-analyze security: 0 is nothing, 10 everything


def run(*command, **options):
    """stdout of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          check=False, **options)
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def needed_libraries(program):
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-d", program, env={**os.environ, "LC_ALL": "C"})))


def packages_of_library(soname):
    """Which packages bring a library: by the path of the one that the loader takes."""
    found = re.search(rf"{re.escape(soname)} .*=> (\S+)", run("/sbin/ldconfig", "-p"))
    if not found:
        return set()
    # Where /lib is a link to /usr/lib, dpkg may know the file by either path.
    real = os.path.realpath(found.group(1))
    for path in (found.group(1), real, real.removeprefix("/usr")):
        done = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            owners = {name.split(":")[0] for name in done.stdout.rpartition(": ")[0].split(", ")}
            # A package may be asked for by what it provides.
            provided = run("dpkg-query", "-W", "-f", "${Provides}, ", *owners)
            return owners | {part.split()[0] for part in provided.split(",") if part.strip()}
    return set()


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="txcdeb."))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        run("cpack", "-G", "DEB", "--config", str(BUILD / "CPackConfig.cmake"), "-B", str(cls.folder), cwd=BUILD)
        made = list(cls.folder.glob("*.deb"))
        assert len(made) == 1, made
        cls.deb = made[0]
        cls.root = cls.folder / "root"
        run("dpkg-deb", "-x", str(cls.deb), str(cls.root))
        run("dpkg-deb", "-e", str(cls.deb), str(cls.folder / "control"))
        cls.program = cls.root / "usr/bin/txcoord"
        cls.members = {}
        for line in run("dpkg-deb", "-c", str(cls.deb)).splitlines():
            mode, owner, *_, name = line.split()
            cls.members[name.removeprefix("./").rstrip("/")] = (mode, owner)

    def field(self, name):
        return run("dpkg-deb", "-f", str(self.deb), name).strip()

    def start(self, *arguments):
        """Exit code and output of the unpacked program, with nothing of this process's settings."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TXCOORD_")}
        done = subprocess.run([self.program, *arguments], env=environment, capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL, check=False)
        return done.returncode, done.stdout + done.stderr

    def configuration(self, dsn=None):
        """A copy of the packaged configuration; with `dsn` its five lines are uncommented and set to that."""
        text = (self.root / "etc/txcoord/txcoord.toml").read_text(encoding="utf-8")
        if dsn:
            text, count = re.subn(r'^#dsn = ".*dbname=(\w+).*"$', rf'dsn = "{dsn} dbname=\1"', text, flags=re.MULTILINE)
            self.assertEqual(5, count, "each database has a line to uncomment")
        file = self.folder / "tried.toml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    def unit(self, name):
        """{directive: values} of a packaged unit."""
        found = {}
        for line in (self.root / "usr/lib/systemd/system" / name).read_text(encoding="utf-8").splitlines():
            if "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found.setdefault(key, []).append(value)
        return found

    # --- what is in it --------------------------------------------------------------------------
    def test_what_an_installation_needs_is_there_and_nothing_of_the_source_tree(self):
        for path in ("usr/bin/txcoord", "etc/txcoord/txcoord.toml", "usr/share/man/man1/txcoord.1.gz",
                     "usr/share/doc/txcoord/copyright", "usr/share/doc/txcoord/changelog.Debian.gz",
                     "usr/share/doc/txcoord/txcoord.example.toml", "usr/share/doc/txcoord/docs/operating.md",
                     "usr/share/txcoord/monitoring/prometheus/rules/alerts.yml",
                     "usr/share/txcoord/monitoring/grafana/dashboards/overview.json",
                     "usr/lib/sysusers.d/txcoord.conf", *(f"usr/lib/systemd/system/{unit}" for unit in UNITS)):
            self.assertIn(path, self.members)
        strangers = [path for path in self.members if not path.startswith(("usr", "etc")) or "/tests" in path
                     or path.startswith("usr/local") or path.endswith((".hpp", ".a", ".cmake"))]
        self.assertEqual([], strangers)
        self.assertNotIn(str(BUILD).encode(), self.program.read_bytes())

    def test_secrets_are_closed_to_others_and_nothing_can_be_written_by_others(self):
        self.assertEqual("-rw-r-----", self.members["etc/txcoord/txcoord.toml"][0])
        self.assertEqual("drwxr-x---", self.members["etc/txcoord/secrets"][0])
        self.assertEqual({"root/root"}, {owner for _, owner in self.members.values()})
        loose = [path for path, (mode, _) in self.members.items() if "w" in mode[4:] or "s" in mode]
        self.assertEqual([], loose)

    def test_configuration_alone_is_a_conffile_so_that_an_upgrade_keeps_it(self):
        conffiles = (self.folder / "control/conffiles").read_text(encoding="utf-8").split()
        in_etc = [path for path, (mode, _) in self.members.items() if path.startswith("etc/") and mode[0] == "-"]
        self.assertEqual([f"/{path}" for path in in_etc], conffiles)

    def test_package_names_each_library_that_the_program_is_linked_with_and_no_other(self):
        depends = {part.split()[0] for part in re.split(r"[,|]", self.field("Depends"))}
        for soname in needed_libraries(self.program):
            with self.subTest(soname):
                packages = packages_of_library(soname)
                self.assertTrue(packages & depends, f"{soname} is in {packages}, and Depends is {depends}")
        if not any(soname.startswith("libpqxx") for soname in needed_libraries(self.program)):
            self.assertFalse([name for name in depends if name.startswith("libpqxx")])
        self.assertFalse([name for name in depends if name.endswith("-dev")])

    def test_version_is_below_the_release_that_it_comes_before(self):
        version = self.field("Version")
        self.assertRegex(version, r"^[0-9][0-9a-z.+~]*-1~[a-z]+[0-9.]*$")
        project = re.search(r"txcoord ([0-9.]+) ", self.start("--version")[1]).group(1)
        # Without a tag the commits' count makes a later commit an upgrade, and the release one over all.
        if "~" in version.partition("-")[0]:
            run("dpkg", "--compare-versions", version, "lt", f"{project}-1")
            count = int(re.search(r"~(\d+)\.g", version).group(1))
            later = version.replace(f"~{count}.", f"~{count + 1}.").replace("+dirty", "")
            run("dpkg", "--compare-versions", version, "lt", later)

    # --- the program ----------------------------------------------------------------------------
    def test_program_runs_from_where_it_was_unpacked(self):
        code, said = self.start("--version")
        self.assertEqual(0, code, said)
        self.assertRegex(said, r"^txcoord [0-9.]+ \(")

    def test_unconfigured_program_refuses_to_serve_with_the_code_that_is_not_restarted(self):
        code, said = self.start("serve", "--config", self.configuration())
        self.assertIn(str(code), REFUSALS, said)
        self.assertIn("dsn", said)

    def test_configured_program_reads_the_packaged_file_and_says_what_it_cannot_reach(self):
        code, said = self.start("config", "--check", "--config", self.configuration("host=127.0.0.1 port=1 user=txcoord"))
        self.assertEqual(0, code, said)
        self.assertEqual(5, said.count("cannot be reached yet"), said)

    # --- units ----------------------------------------------------------------------------------
    def test_units_do_not_start_again_what_a_person_must_correct(self):
        for name in UNITS:
            with self.subTest(name):
                unit = self.unit(name)
                self.assertEqual(["on-failure"], unit["Restart"])
                self.assertEqual(REFUSALS, set(unit["RestartPreventExitStatus"][0].split()))
                self.assertEqual(["0"], unit["StartLimitIntervalSec"], "systemd gives up after five starts otherwise")

    def test_units_leave_time_to_finish_what_is_under_way(self):
        example = (self.root / "usr/share/doc/txcoord/txcoord.example.toml").read_text(encoding="utf-8")
        drain_ms = int(re.search(r"^#drain_ms_max = (\d+)$", example, re.MULTILINE).group(1))
        for name in UNITS:
            self.assertGreater(1000 * int(self.unit(name)["TimeoutStopSec"][0]), 2 * drain_ms, name)

    def test_units_name_what_the_package_brings(self):
        for name in UNITS:
            unit = self.unit(name)
            self.assertIn(unit["ExecStart"][0].split()[0].lstrip("/"), self.members)
            user = (self.root / "usr/lib/sysusers.d/txcoord.conf").read_text(encoding="utf-8")
            self.assertIn(f"\nu {unit['User'][0]} ", user)
            for document in re.findall(r"file://(\S+)", unit["Documentation"][0]):
                self.assertIn(document.lstrip("/"), self.members)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze")
    def test_units_are_understood_by_systemd_and_closed(self):
        tried = self.folder / "units"
        tried.mkdir()
        for name in UNITS:
            text = (self.root / "usr/lib/systemd/system" / name).read_text(encoding="utf-8")
            (tried / name).write_text(text.replace("/usr/bin/txcoord", str(self.program)), encoding="utf-8")
            with self.subTest(name):
                done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(tried / name)], timeout=30,
                                      capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
                # Where systemd itself is not installed there is no sysinit.target to start after.
                complaints = [line for line in done.stderr.splitlines() if name.split("@")[0].split(".")[0] in line
                              and "sysinit.target not found" not in line]
                self.assertEqual([], complaints)
                told = run("systemd-analyze", "security", "--offline=yes", str(tried / name))
                exposure = float(re.search(r"Overall exposure level .*: ([0-9.]+)", told).group(1))
                self.assertLessEqual(exposure, EXPOSURE_MAX)

    # --- documentation and scripts --------------------------------------------------------------
    @unittest.skipUnless(shutil.which("man"), "no man")
    def test_manual_page_knows_every_command_and_exit_code_of_the_program(self):
        page = run("man", "--warnings", "-l", str(self.root / "usr/share/man/man1/txcoord.1.gz"),
                   env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"})
        _, said = self.start("--help")
        commands = re.findall(r"^  ([a-z][a-z-]+) ", said.partition("Subcommands:")[2], re.MULTILINE)
        self.assertIn("serve", commands)
        for command in commands:
            self.assertRegex(page, rf"(?m)^ +txcoord {command}\b")
        codes = re.findall(r"(?:^|, )(\d) ", re.search(r"Exit codes: (.*)", said).group(1))
        for code in codes:
            self.assertRegex(page.partition("EXIT STATUS")[2], rf"(?m)^ +{code} ")

    def test_every_setting_of_the_packaged_configuration_is_in_the_example(self):
        def names(text):
            table = tomllib.loads(re.sub(r"(?m)^#(?=\w+ = )", "", text))
            return {f"{section}.{key}" if isinstance(value, dict) else section
                    for section, value in table.items() for key in (value if isinstance(value, dict) else [""])}
        packaged = names((self.root / "etc/txcoord/txcoord.toml").read_text(encoding="utf-8"))
        self.assertLessEqual(packaged, names((ROOT / "txcoord.example.toml").read_text(encoding="utf-8")))

    def test_maintainer_scripts_are_shell_that_dash_and_shellcheck_accept(self):
        for name in ("postinst", "prerm", "postrm"):
            script = self.folder / "control" / name
            self.assertEqual(0o755, stat.S_IMODE(script.stat().st_mode))
            run("dash", "-n", str(script))
            self.assertIn("\nset -e\n", script.read_text(encoding="utf-8"))
            if shutil.which("shellcheck"):
                run("shellcheck", str(script))

    @unittest.skipUnless(shutil.which("lintian"), "no lintian")
    def test_lintian_finds_no_error_and_no_warning_that_is_not_explained(self):
        done = subprocess.run(["lintian", "--no-cfg", "--allow-root", str(self.deb)], capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual([], [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))])


if __name__ == "__main__":
    if not (BUILD / "CPackConfig.cmake").exists() or not all(map(shutil.which, ("cpack", "dpkg-deb", "dpkg-shlibdeps"))):
        print("skipped: it needs a configured build folder, cpack, dpkg-deb and dpkg-shlibdeps", file=sys.stderr)
        sys.exit(SKIP)
    unittest.main(verbosity=2)
