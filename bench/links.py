"""Servers for the benchmarks: nginx over a folder, on loopback or behind a link of 100 Mbit/s
and a round trip of 20 ms between two network namespaces (bench/shaped_link.cc).

Everything ends with the `with` block, by the process and the name that was started.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time

from measure import Skip

MEGABITS = 100
ROUND_TRIP_MS = 20
SERVER_ADDRESS = "10.203.77.1"
CLIENT_ADDRESS = "10.203.77.2"
OTHER_CORE = ["taskset", "-c", "0"]  # What is measured runs on core 1.

CONFIGURATION = """
daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
  access_log off; sendfile on; default_type application/octet-stream;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen {address}:{port}; location /data/ {{ alias {root}/; }} }}
}}
"""


def stop(process):
    process.terminate()
    process.wait(timeout=30)


@contextlib.contextmanager
def nginx(context, address="127.0.0.1", port=None, prefix=()):
    """Serves the context's folder; gives the URL of it."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.path.exists(program):
        raise Skip("no nginx: apt-get install nginx-light")
    if os.geteuid() != 0:
        raise Skip("nginx and namespaces need root here")
    if port is None:
        with socket.socket() as free:
            free.bind((address, 0))
            port = free.getsockname()[1]
    folder = context.path(f"nginx-{port}")
    os.makedirs(folder, exist_ok=True)
    os.chmod(context.folder, 0o755)
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as file:
        file.write(CONFIGURATION.format(folder=folder, address=address, port=port,
                                        root=context.folder))
    process = subprocess.Popen([*prefix, *OTHER_CORE, program, "-c", path, "-e", f"{folder}/error.log"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if os.path.exists(f"{folder}/pid") or process.poll() is not None:
                break
            time.sleep(0.05)
        if process.poll() is not None:
            with open(f"{folder}/error.log") as file:
                raise Skip(f"nginx does not start: {file.read().strip()[-200:]}")
        time.sleep(0.1)
        yield f"http://{address}:{port}/data"
    finally:
        stop(process)


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skip(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextlib.contextmanager
def namespace(name):
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        ip("netns", "del", name)


@contextlib.contextmanager
def shaped_nginx(context):
    """nginx at the other end of the link: gives the URL and the words that a command must
    begin with to run at this end. Raises Skip where namespaces or TUN are not allowed."""
    if shutil.which("ip") is None:
        raise Skip("no ip: apt-get install iproute2")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(namespace(f"dnc-bench-{os.getpid()}-s"))
        client = stack.enter_context(namespace(f"dnc-bench-{os.getpid()}-c"))
        link = subprocess.Popen(
            [*OTHER_CORE, context.program("shaped_link"), server, client, str(MEGABITS),
             str(ROUND_TRIP_MS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        stack.callback(stop, link)
        if link.stdout.readline() != "ready\n":
            raise Skip(link.stderr.read().strip())
        for name, address in ((server, SERVER_ADDRESS), (client, CLIENT_ADDRESS)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "dnclink")
            ip("-n", name, "link", "set", "dnclink", "up")
        url = stack.enter_context(nginx(context, SERVER_ADDRESS, 8080,
                                        ["ip", "netns", "exec", server]))
        yield url, ["ip", "netns", "exec", client]
