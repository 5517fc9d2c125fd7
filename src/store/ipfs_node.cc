#include "store/ipfs_node.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace dnc::store {
namespace {

using Json = nlohmann::json;

constexpr char kPinName[] = "dnc";
constexpr std::uint64_t kAnswerBytesMax = 64u << 20;  // Of a folder of 100,000 entries.
constexpr char kBoundary[] = "dnc-car-5d1c0e7a9b3f4826";

// The text under `key`, or an empty one.
std::string TextOf(const Json& json, const char* key) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<Json> ParseAnswer(const std::string& text, const std::string& url) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) {
    return Error{ErrorCode::kCorrupt, DisplayUrl(url) +
                                          ": its answer is no JSON; expected the "
                                          "RPC of a Kubo node"};
  }
  return json;
}

}  // namespace

IpfsNode::IpfsNode(std::string url, const StoreOptions& options)
    : url_(std::move(url)), client_(options) {}

Result<std::string> IpfsNode::Call(const std::string& path, const HttpBody* body,
                                   const std::string& content_type) {
  HttpRequest request;
  request.method = "POST";
  request.url = url_ + "/api/v0/" + path;
  request.body = body;
  if (!content_type.empty()) request.headers = {"Content-Type: " + content_type};
  request.internal_error_passes = false;
  request.body_bytes_max = kAnswerBytesMax;
  DNC_ASSIGN(const HttpResponse response, client_.Run(request));
  std::string text(AsText(response.body));
  if (response.ok()) return text;
  const std::string name = path.substr(0, path.find('?'));
  const Json json = Json::parse(text, nullptr, false);
  const std::string message = TextOf(json, "Message");
  if (message.empty()) {
    return StatusError(response, DisplayUrl(request.url)).WithContext("not the RPC of a Kubo node");
  }
  const bool missing = message.find("does not exist") != std::string::npos;
  return Error{missing ? ErrorCode::kNotFound : ErrorCode::kIo,
               "the IPFS node at " + DisplayUrl(url_) + " says to " + name + ": " + message};
}

Result<std::optional<IpfsNode::Stat>> IpfsNode::FindFile(const std::string& path) {
  const Result<std::string> text = Call("files/stat?arg=" + PercentEncode(path));
  if (!text.ok()) {
    if (text.error().code == ErrorCode::kNotFound) return std::optional<Stat>();
    return text.error();
  }
  DNC_ASSIGN(const Json json, ParseAnswer(*text, url_));
  const auto cid = ipfs::ParseCid(TextOf(json, "Hash"));
  if (!cid) {
    return Error{ErrorCode::kUnsupported, "the IPFS node at " + DisplayUrl(url_) + " has " + path +
                                              " under a CID of another kind: \"" +
                                              TextOf(json, "Hash").substr(0, 100) + "\""};
  }
  return std::optional<Stat>({*cid, TextOf(json, "Type") == "directory"});
}

Status IpfsNode::MakeFolder(const std::string& path) {
  return Call("files/mkdir?arg=" + PercentEncode(path) + "&cid-version=1&parents=true").status();
}

Result<std::vector<std::string>> IpfsNode::ListFolder(const std::string& path) {
  DNC_ASSIGN(const std::string text, Call("files/ls?arg=" + PercentEncode(path)));
  DNC_ASSIGN(const Json json, ParseAnswer(text, url_));
  std::vector<std::string> names;
  const auto entries = json.is_object() ? json.find("Entries") : json.end();
  if (entries != json.end() && entries->is_array()) {
    for (const Json& entry : *entries) names.push_back(TextOf(entry, "Name"));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status IpfsNode::LinkFile(const ipfs::Cid& cid, const std::string& path) {
  return Call("files/cp?arg=" + PercentEncode("/ipfs/" + cid.Text()) +
              "&arg=" + PercentEncode(path) + "&force=true")
      .status();
}

Status IpfsNode::RemoveFile(const std::string& path) {
  return Call("files/rm?arg=" + PercentEncode(path)).status();
}

Status IpfsNode::ImportCar(const HttpBody& car, const ipfs::Cid& root) {
  const std::string head = std::string("--") + kBoundary +
                           "\r\nContent-Disposition: form-data; name=\"file\"; "
                           "filename=\"object.car\"\r\nContent-Type: application/octet-stream"
                           "\r\n\r\n";
  const std::string tail = std::string("\r\n--") + kBoundary + "--\r\n";
  // The three pieces as one body, which may be read again from anywhere.
  HttpBody body;
  body.bytes = head.size() + car.bytes + tail.size();
  body.read = [&](std::uint64_t offset, std::span<std::byte> out) -> Status {
    while (!out.empty()) {
      std::size_t count = out.size();
      if (offset < head.size() || offset >= head.size() + car.bytes) {
        const bool in_head = offset < head.size();
        const ByteSpan text = AsBytes(in_head ? head : tail)
                                  .subspan(static_cast<std::size_t>(
                                      in_head ? offset : offset - head.size() - car.bytes));
        count = std::min(count, text.size());
        std::copy_n(text.begin(), count, out.begin());
      } else {
        const std::uint64_t at = offset - head.size();
        count = static_cast<std::size_t>(std::min<std::uint64_t>(count, car.bytes - at));
        DNC_TRY(car.read(at, out.first(count)));
      }
      offset += count;
      out = out.subspan(count);
    }
    return {};
  };
  DNC_ASSIGN(const std::string text,
             Call("dag/import?pin-roots=false&allow-big-block=false", &body,
                  std::string("multipart/form-data; boundary=") + kBoundary));
  // With roots not pinned the node may say nothing of them; that it has the whole tree is
  // checked when it is pinned.
  static_cast<void>(text);
  DNC_ASSIGN(const std::string block, Call("block/stat?arg=" + root.Text()));
  DNC_ASSIGN(const Json json, ParseAnswer(block, url_));
  if (ipfs::ParseCid(TextOf(json, "Key")) != root) {
    return Error{ErrorCode::kCorrupt,
                 "the IPFS node at " + DisplayUrl(url_) + " took a CAR, but has no " + root.Text()};
  }
  return {};
}

Result<std::optional<std::string>> IpfsNode::PinName(const ipfs::Cid& cid) {
  const Result<std::string> text = Call("pin/ls?arg=" + cid.Text() + "&names=true&type=recursive");
  if (!text.ok()) {
    // "path ... is not pinned": the node has no other way to say it.
    if (text.error().message.find("not pinned") != std::string::npos) {
      return std::optional<std::string>();
    }
    return text.error();
  }
  DNC_ASSIGN(const Json json, ParseAnswer(*text, url_));
  const auto keys = json.is_object() ? json.find("Keys") : json.end();
  if (keys == json.end() || !keys->is_object() || keys->empty()) {
    return std::optional<std::string>();
  }
  return std::optional<std::string>(TextOf(*keys->begin(), "Name"));
}

Status IpfsNode::Pin(const ipfs::Cid& cid) {
  DNC_ASSIGN(const std::optional<std::string> name, PinName(cid));
  if (name) return {};
  return Call("pin/add?arg=" + cid.Text() + "&name=" + kPinName + "&recursive=true").status();
}

Status IpfsNode::Unpin(const ipfs::Cid& cid) {
  DNC_ASSIGN(const std::optional<std::string> name, PinName(cid));
  if (name != kPinName) return {};
  return Call("pin/rm?arg=" + cid.Text() + "&recursive=true").status();
}

}  // namespace dnc::store
