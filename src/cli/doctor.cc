#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/human.h"
#include "base/time.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/values.h"
#include "trainer/process_trainer.h"

namespace dnc::cli {
namespace {

struct DoctorOptions {
  std::string folder = ".";
  bool json = false;
};

struct Report {
  std::string processor;
  std::vector<std::string> features;  // That matter to speed and are there.
  int cores = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t memory_available_bytes = 0;
  std::uint64_t disk_free_bytes = 0;
  double disk_write_mb_per_s = 0;
  double memory_copy_gb_per_s = 0;
  double sha256_mb_per_s = 0;
  std::string trainer;       // Path, or empty.
  nlohmann::json libraries;  // What dnc-trainer --doctor says of itself.
  std::vector<std::string> advice;
};

// The value after `key` in a file of "key : value" lines, such as /proc/cpuinfo.
std::string FieldOf(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key)) continue;
    const std::size_t colon = line.find(':');
    const std::size_t begin =
        colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::uint64_t MemoryField(const std::string& key) {
  return std::strtoull(FieldOf("/proc/meminfo", key).c_str(), nullptr, 10) << 10;
}

void FindProcessor(Report* report) {
  report->processor = FieldOf("/proc/cpuinfo", "model name");
  report->cores = AvailableCores();
  std::istringstream flags(FieldOf("/proc/cpuinfo", "flags"));
  for (std::string flag; flags >> flag;) {
    for (const char* known : {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"}) {
      if (flag == known) report->features.push_back(flag);
    }
  }
}

template <typename Work>
double SecondsOf(const Work& work) {
  const Instant started = MonotonicNow();
  work();
  return std::max((MonotonicNow() - started).seconds(), 1e-9);
}

constexpr std::size_t kProbeBytes = 64u << 20;

void MeasureMemory(Report* report) {
  const std::vector<std::byte> from(kProbeBytes, std::byte{1});
  std::vector<std::byte> to(kProbeBytes);
  const double seconds = SecondsOf([&] { std::memcpy(to.data(), from.data(), kProbeBytes); });
  report->memory_copy_gb_per_s = static_cast<double>(kProbeBytes) / seconds / 1e9;
  const double hash_seconds = SecondsOf([&] { to[0] = std::byte{Sha256(from).bytes[0]}; });
  report->sha256_mb_per_s = static_cast<double>(kProbeBytes) / hash_seconds / 1e6;
}

// Writes and syncs 64 MiB in `folder`, and removes them.
Status MeasureDisk(const std::string& folder, Report* report) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) return ErrnoError("look at", folder, errno);
  report->disk_free_bytes = static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  if (report->disk_free_bytes < 2 * kProbeBytes) return {};
  // Never committed: the file goes with the object.
  DNC_ASSIGN(AtomicFile probe, AtomicFile::Create(folder + "/dnc-doctor"));
  const std::vector<std::byte> bytes(kProbeBytes, std::byte{0x5a});
  Status status;
  const double seconds = SecondsOf([&] {
    status = probe.Write(bytes);
    const int fd = ::open(probe.temporary_path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
      ::fsync(fd);
      ::close(fd);
    }
  });
  DNC_TRY(status);
  report->disk_write_mb_per_s = static_cast<double>(kProbeBytes) / seconds / 1e6;
  return {};
}

// Runs a program and returns its stdout, of at most 64 KiB.
std::string OutputOf(const std::string& program, const std::string& argument) {
  std::string quoted = "'";
  for (const char c : program) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      ::popen((quoted + "' " + argument + " 2>/dev/null").c_str(), "r"), ::pclose);
  std::string text;
  if (pipe == nullptr) return text;
  std::array<char, 4096> buffer{};
  while (text.size() < (64u << 10)) {
    const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe.get());
    if (got == 0) break;
    text.append(buffer.data(), got);
  }
  return text;
}

void FindTrainer(Report* report) {
  const auto trainer = trainer::FindTrainerProgram("");
  if (!trainer.ok()) {
    report->advice.push_back(trainer.error().message);
    return;
  }
  report->trainer = *trainer;
  report->libraries = nlohmann::json::parse(
      OutputOf(*trainer, "--doctor --threads " + std::to_string(report->cores)), nullptr, false);
  if (!report->libraries.is_object()) {
    report->libraries = nlohmann::json::object();
    report->advice.push_back(*trainer + " does not run; `" + *trainer + " --doctor` says why");
  }
}

void Advise(Report* report) {
  if (report->memory_available_bytes < (std::uint64_t{1} << 30)) {
    report->advice.push_back(
        "less than 1 GiB of memory is free: train with small batches, or "
        "close other programs");
  }
  if (report->disk_free_bytes < (std::uint64_t{1} << 30)) {
    report->advice.push_back("less than 1 GiB of disk is free: divide straight to another disk");
  }
  if (report->disk_write_mb_per_s > 0 && report->disk_write_mb_per_s < 50) {
    report->advice.push_back("the disk writes slower than 50 MB/s: dividing will wait for it");
  }
  const double gflops = report->libraries.value("matrix_gflops", 0.0);
  if (gflops > 0 && gflops < 15.0 * report->cores) {
    report->advice.push_back(
        "matrix products are slow for this processor: is another program "
        "using it, or is dnc-trainer built without oneDNN?");
  }
  if (report->features.empty()) {
    report->advice.push_back(
        "the processor has no AVX2: training will be several times slower "
        "than on one of the last ten years");
  }
}

void Print(const Report& report) {
  std::string features;
  for (const std::string& feature : report.features) features += " " + feature;
  std::printf("processor   %s, %d cores,%s\n", report.processor.c_str(), report.cores,
              features.c_str());
  std::printf("memory      %s, %s free, copies %.1f GB/s\n",
              FormatByteCount(report.memory_bytes).c_str(),
              FormatByteCount(report.memory_available_bytes).c_str(), report.memory_copy_gb_per_s);
  std::printf("disk        %s free, writes %.0f MB/s\n",
              FormatByteCount(report.disk_free_bytes).c_str(), report.disk_write_mb_per_s);
  std::printf("hashing     %.0f MB/s (SHA-256)\n", report.sha256_mb_per_s);
  std::printf("trainer     %s\n", report.trainer.empty() ? "not found" : report.trainer.c_str());
  for (const auto& [name, value] : report.libraries.items()) {
    std::printf("  %-24s %s\n", name.c_str(),
                value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  }
  if (report.advice.empty()) std::printf("nothing to mend\n");
  for (const std::string& advice : report.advice) std::printf("mend: %s\n", advice.c_str());
}

Status Examine(const DoctorOptions& options) {
  Report report;
  FindProcessor(&report);
  report.memory_bytes = MemoryField("MemTotal");
  report.memory_available_bytes = MemoryField("MemAvailable");
  MeasureMemory(&report);
  DNC_TRY(MeasureDisk(options.folder, &report));
  FindTrainer(&report);
  Advise(&report);
  if (!options.json) {
    Print(report);
    return {};
  }
  PrintJson({{"processor",
              {{"name", report.processor}, {"cores", report.cores}, {"features", report.features}}},
             {"memory_bytes", report.memory_bytes},
             {"memory_available_bytes", report.memory_available_bytes},
             {"memory_copy_gb_per_s", report.memory_copy_gb_per_s},
             {"disk_free_bytes", report.disk_free_bytes},
             {"disk_write_mb_per_s", report.disk_write_mb_per_s},
             {"sha256_mb_per_s", report.sha256_mb_per_s},
             {"trainer", report.trainer},
             {"libraries", report.libraries},
             {"matrix_gflops", report.libraries.value("matrix_gflops", 0.0)},
             {"advice", report.advice}});
  return {};
}

}  // namespace

void AddDoctor(Registry* registry) {
  const auto options = std::make_shared<DoctorOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "doctor",
       .description = "Look at this machine: processor, memory, disk, libraries, what to mend",
       .examples = "  dnc doctor\n"
                   "  dnc doctor --folder /mnt/data --json"},
      [options] { return Examine(*options); });
  command->add_option("--folder", options->folder, "Where the disk is looked at and written to")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
}

}  // namespace dnc::cli
