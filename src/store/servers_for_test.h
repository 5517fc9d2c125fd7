// Real servers for tests, each a process of its own on loopback that ends with the test:
// nginx from Debian, versitygw (S3) and Kubo (IPFS) where tests/servers/install.sh has put them,
// in $DNC_SERVERS or ~/.cache/dnc-servers.

#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/assert.h"
#include "testing/testing.h"

namespace dnc::store {

class ServerProcess {
 public:
  // `environment`: "NAME=value", beside that of the test.
  ServerProcess(const std::vector<std::string>& command, const std::string& log,
                const std::vector<std::string>& environment = {}) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    for (const std::string& entry : environment) ::putenv(const_cast<char*>(entry.c_str()));
    std::vector<char*> arguments;
    for (const std::string& part : command) arguments.push_back(const_cast<char*>(part.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ~ServerProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Whether it ended by itself, well.
  bool Wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  bool alive() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }

 private:
  pid_t pid_ = -1;
};

inline int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  DNC_ASSERT(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  socklen_t size = sizeof address;
  DNC_ASSERT(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

// Whether `port` answers before the server ends or half a minute has passed.
inline bool WaitForPort(int port, const ServerProcess& server) {
  for (int i = 0; i < 1500 && server.alive(); ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int connected = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::close(fd);
    if (connected == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

// The program's path; empty if this machine has it not.
inline std::string FindServer(const std::string& name) {
  const char* folder = std::getenv("DNC_SERVERS");
  const char* home = std::getenv("HOME");
  for (const std::string& path :
       {folder != nullptr ? std::string(folder) + "/" + name : std::string(),
        home != nullptr ? std::string(home) + "/.cache/dnc-servers/" + name : std::string(),
        "/usr/sbin/" + name, "/usr/bin/" + name}) {
    if (!path.empty() && ::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

// What the kinds below share: a folder, a port, and why there is no server.
class TestServer {
 public:
  virtual ~TestServer() = default;
  const std::string& problem() const { return problem_; }  // Empty: it runs.
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 protected:
  void Start(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
    process_ = std::make_unique<ServerProcess>(command, folder_ / "log", environment);
    if (WaitForPort(port_, *process_)) return;
    std::ifstream log(folder_ / "log");
    problem_ = command[0] + " did not start: " +
               std::string(std::istreambuf_iterator<char>(log), std::istreambuf_iterator<char>());
  }

  test::TemporaryFolder folder_;
  int port_ = FreePort();
  std::string problem_;
  std::unique_ptr<ServerProcess> process_;
};

// Serves a folder as it is.
class NginxServer final : public TestServer {
 public:
  NginxServer() {
    const std::string program = FindServer("nginx");
    if (program.empty()) {
      problem_ = "no nginx; apt-get install nginx-light";
      return;
    }
    std::filesystem::create_directory(root());
    std::ofstream(folder_ / "conf")
        << "daemon off; master_process off; pid " << folder_ / "pid"
        << "; error_log stderr; events { } http { access_log off; client_body_temp_path "
        << folder_ / "t1"
        << "; proxy_temp_path " << folder_ / "t2"
        << "; fastcgi_temp_path " << folder_ / "t3"
        << "; uwsgi_temp_path " << folder_ / "t4"
        << "; scgi_temp_path " << folder_ / "t5"
        << "; server { listen 127.0.0.1:" << port_ << "; root " << root()
        << "; location /whole/ { max_ranges 0; alias " << root() << "/; } "
        << "location /moved/ { rewrite ^/moved/(.*)$ /$1 redirect; } } }";
    Start({program, "-c", folder_ / "conf", "-e", "stderr"}, {});
  }
  std::string root() const { return folder_ / "root"; }
};

// S3 over a folder: a bucket is a folder in it.
class S3Server final : public TestServer {
 public:
  static constexpr char kAccessKey[] = "dnc-test-access";
  static constexpr char kSecretKey[] = "dnc-test-secret-key";

  S3Server() {
    const std::string program = FindServer("versitygw");
    if (program.empty()) {
      problem_ = "no S3 server; run tests/servers/install.sh";
      return;
    }
    std::filesystem::create_directories(folder_ / "root/bucket");
    std::filesystem::create_directories(folder_ / "meta");
    Start({program, "--port", "127.0.0.1:" + std::to_string(port_), "--access", kAccessKey,
           "--secret", kSecretKey, "--region", "us-east-1", "--virtual-domain",
           "localhost:" + std::to_string(port_), "--keep-alive", "--quiet", "posix", "--sidecar",
           folder_ / "meta", folder_ / "root"},
          {});
  }
  std::string bucket_folder() const { return folder_ / "root/bucket"; }
};

// An IPFS node without a network, with RPC and a gateway.
class KuboServer final : public TestServer {
 public:
  KuboServer() {
    const std::string program = FindServer("ipfs");
    if (program.empty()) {
      problem_ = "no IPFS node; run tests/servers/install.sh";
      return;
    }
    const std::vector<std::string> environment = {"IPFS_PATH=" + (folder_ / "repo")};
    // One profile for the folder's names too.
    ServerProcess init({program, "init", "--empty-repo", "--profile=unixfs-v1-2025,test"},
                       folder_ / "log", environment);
    if (!init.Wait()) {
      problem_ = "ipfs init failed";
      return;
    }
    for (const auto& [key, port] : {std::pair<std::string, int>{"Addresses.API", port_},
                                    {"Addresses.Gateway", gateway_port_}}) {
      ServerProcess config({program, "config", key, "/ip4/127.0.0.1/tcp/" + std::to_string(port)},
                           folder_ / "log", environment);
      if (!config.Wait()) problem_ = "ipfs config failed";
    }
    Start({program, "daemon", "--offline"}, environment);
    if (problem_.empty() && !WaitForPort(gateway_port_, *process_)) problem_ = "no gateway";
  }
  std::string gateway() const { return "http://127.0.0.1:" + std::to_string(gateway_port_); }

  // What `ipfs ARGUMENTS...` prints, without its last line's end.
  std::string Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), FindServer("ipfs"));
    const std::string out = folder_ / "out";
    std::filesystem::remove(out);
    ServerProcess process(arguments, out, {"IPFS_PATH=" + (folder_ / "repo")});
    process.Wait();
    std::ifstream file(out);
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

 private:
  int gateway_port_ = FreePort();
};

}  // namespace dnc::store
