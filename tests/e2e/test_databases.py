"""dnc divide of queries on real servers: PostgreSQL and MariaDB, started here on loopback."""

import glob
import json
import os
import pwd
import resource
import shutil
import socket
import subprocess
import tempfile

from harness import Case, die_with_parent

SECRET = "pa:ss@w/rd"
SECRET_IN_URL = "pa%3Ass%40w%2Frd"
ROWS = 500


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server(Case):
    """A server's own folder and user: neither server runs as root."""

    def make_home(self, *users):
        self.home = tempfile.mkdtemp(prefix="dnc-db-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.as_user = {}
        if os.geteuid() != 0:
            return
        for user in (*users, "nobody"):
            try:
                entry = pwd.getpwnam(user)
            except KeyError:
                continue
            os.chown(self.home, entry.pw_uid, entry.pw_gid)
            self.as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            return
        self.skipTest("no user to run a server as")

    def start_server(self, *command):
        log = open(os.path.join(self.home, "log"), "w")
        self.addCleanup(log.close)
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.home,
                                   preexec_fn=die_with_parent, **self.as_user)
        self.processes.append(process)
        return process

    def tool(self, *command, text=None, check=True):
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=self.home,
                              timeout=120, **self.as_user)
        if check:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    # ---- What is the same on both.

    def rows(self):
        return [(i, i / 7, ["red", "green", "blue"][i % 3], i % 2, f"2021-03-{i % 28 + 1:02d}",
                 None if i % 50 == 7 else i * 3) for i in range(ROWS)]

    def check_division(self, url):
        query = "SELECT amount, color, day, gap, good FROM samples ORDER BY id"
        self.run_dnc("divide", url, "--query", query, "--label-column", "good", "--missing",
                     "mean", "--to", self.path("out"))
        found = json.loads(self.run_dnc("inspect", self.path("out"), "--json")[0])
        self.assertEqual(found["samples"], ROWS)
        with open(self.path("out", "manifest.json")) as file:
            manifest = file.read()
        features = json.loads(manifest)["columns"][0]["features"]
        self.assertEqual([f["name"] for f in features], ["amount", "color", "day", "gap"])
        self.assertEqual(features[1]["categories"], ["blue", "green", "red"])
        # The same query, in the URL and so in the manifest, gives the same shards.
        joint = "&" if "?" in url else "?"
        said = self.run_dnc("divide", f"{url}{joint}query={query}", "--label-column", "good",
                            "--missing", "mean", "--to", self.path("again"))
        again = json.loads(self.run_dnc("inspect", self.path("again"), "--json")[0])
        self.assertEqual([s["cid"] for s in found["shards"]], [s["cid"] for s in again["shards"]])
        self.run_dnc("verify", self.path("again"))
        with open(self.path("again", "manifest.json")) as file:
            everything = manifest + file.read() + "".join(said)
        self.assertNotIn(SECRET, everything)
        self.assertNotIn(SECRET_IN_URL, everything)

    def check_refusals(self, url, wrong_login):
        def refuse(code, source, query, says):
            message = self.refuse(code, "divide", source, "--query", query, "--to",
                                  self.path("bad"), says=says)
            self.assertNotIn(SECRET, message)
            self.assertNotIn(SECRET_IN_URL, message)
            self.assertFalse(os.path.exists(self.path("bad")))
        refuse(2, url, "SELECT nothing FROM samples", ["nothing"])
        refuse(2, url, "DELETE FROM samples", [])
        refuse(2, url, "SELECT 1; DELETE FROM samples", [])
        refuse(2, url, "SELECT gap FROM samples ORDER BY id", ["row 8", "gap", "NULL"])
        # Refused early, with most of a large result unread.
        refuse(2, url, "SELECT a.id, CASE WHEN a.id >= 0 THEN NULL END AS n FROM samples a, "
                       "samples b, samples c", ["row 1", "NULL"])
        refuse(8, wrong_login, "SELECT 1", ["cannot connect"])

    def check_memory(self, url, query, rows):
        """Of a result far larger than the memory that reading it takes."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        self.run_dnc("divide", url, "--query", query, "--to", self.path("large"))
        peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        found = json.loads(self.run_dnc("inspect", self.path("large"), "--json")[0])
        self.assertEqual(found["samples"], rows)
        self.assertLess(peak_kib, max(before, 160 << 10))


class PostgreSql(Server):
    def setUp(self):
        super().setUp()
        folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not folders or not os.path.exists(os.path.join(folders[-1], "initdb")):
            self.skipTest("PostgreSQL is not installed (apt install postgresql)")
        self.make_home("postgres")
        self.bin = folders[-1]
        secret = os.path.join(self.home, "secret")
        with open(secret, "w") as file:
            file.write(SECRET)
        os.chmod(secret, 0o644)
        data = os.path.join(self.home, "data")
        self.tool(os.path.join(self.bin, "initdb"), "-D", data, "-U", "ann", "--pwfile", secret,
                  "--auth-host=scram-sha-256", "--auth-local=trust", "--no-sync", "-E", "UTF8",
                  "--no-locale")
        self.port = free_port()
        self.start_server(os.path.join(self.bin, "postgres"), "-D", data, "-k", self.home, "-p",
                          str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
        ready = [os.path.join(self.bin, "pg_isready"), "-q", "-h", self.home, "-p", str(self.port)]
        self.wait_until(lambda: self.tool(*ready, check=False).returncode == 0, "PostgreSQL")
        values = ",".join(
            f"({i},{a!r},'{c}',{'true' if g else 'false'},'{d}',{'NULL' if n is None else n})"
            for i, a, c, g, d, n in self.rows())
        self.psql("CREATE TABLE samples(id int, amount numeric, color text, good boolean, "
                  "day timestamptz, gap float8);"
                  f"INSERT INTO samples(id, amount, color, good, day, gap) VALUES {values}")
        self.url = f"postgresql://ann:{SECRET_IN_URL}@127.0.0.1:{self.port}/postgres"

    def psql(self, statements):
        self.tool(os.path.join(self.bin, "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-h", self.home,
                  "-p", str(self.port), "-U", "ann", "-d", "postgres", text=statements)

    def test_query_over_tcp_and_over_a_socket(self):
        self.check_division(self.url)
        over_socket = f"postgresql://ann@/postgres?host={self.home}"
        self.run_dnc("divide", over_socket, "--query", "SELECT id FROM samples ORDER BY id", "--to",
                     self.path("socket"), env={"PGPORT": str(self.port)})
        self.check_refusals(self.url, self.url.replace(SECRET_IN_URL, "wrong" + SECRET_IN_URL))

    def test_large_result_is_streamed(self):
        self.check_memory(self.url, "SELECT i, i * 2 AS j, repeat('x', 200) AS text "
                          "FROM generate_series(1, 1000000) AS i", 1_000_000)


class MariaDb(Server):
    def setUp(self):
        super().setUp()
        self.server = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
        install = shutil.which("mariadb-install-db")
        if not self.server or not install:
            self.skipTest("MariaDB is not installed (apt install mariadb-server)")
        self.make_home("mysql")
        data = os.path.join(self.home, "data")
        self.tool(install, "--no-defaults", "--datadir=" + data, "--skip-test-db",
                  "--auth-root-authentication-method=normal")
        self.port = free_port()
        self.socket = os.path.join(self.home, "socket")
        self.start_server(self.server, "--no-defaults", "--datadir=" + data,
                          "--socket=" + self.socket, f"--port={self.port}",
                          "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0",
                          "--pid-file=" + os.path.join(self.home, "pid"))
        self.client = ["mariadb", "--no-defaults", "--socket=" + self.socket, "-u", "root"]
        self.wait_until(
            lambda: self.tool(*self.client, "-e", "SELECT 1", check=False).returncode == 0,
            "MariaDB")
        values = ",".join(f"({i},{a!r},'{c}',{g},'{d}',{'NULL' if n is None else n})"
                          for i, a, c, g, d, n in self.rows())
        self.tool(*self.client, text=(
            "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;"
            "CREATE TABLE samples(id int, amount double, color varchar(20), good boolean, "
            "day datetime, gap decimal(10, 2)) ENGINE=InnoDB;"
            f"INSERT INTO samples(id, amount, color, good, day, gap) VALUES {values};"
            f"CREATE USER ann@'%' IDENTIFIED BY '{SECRET}';"
            "GRANT SELECT, DELETE ON shop.* TO ann@'%';"))
        self.url = f"mysql://ann:{SECRET_IN_URL}@127.0.0.1:{self.port}/shop"

    def test_query_over_tcp_and_over_a_socket(self):
        self.check_division(self.url)
        over_socket = f"mariadb://ann:{SECRET_IN_URL}@localhost/shop?socket={self.socket}"
        self.run_dnc("divide", over_socket, "--query", "SELECT id FROM samples ORDER BY id", "--to",
                     self.path("socket"))
        self.check_refusals(self.url, self.url.replace(SECRET_IN_URL, "wrong"))

    def test_large_result_is_streamed(self):
        self.check_memory(self.url, "SELECT seq, seq * 2 AS j, repeat('x', 200) AS text "
                          "FROM seq_1_to_1000000", 1_000_000)
