#include "store/s3_xml.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace dnc::store {
namespace {

constexpr int kDepthMax = 16;
constexpr int kElementsMax = 100'000;
constexpr std::size_t kNameBytesMax = 256;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool IsNameChar(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == ':' || static_cast<unsigned char>(c) >= 0x80;
}

class XmlParser {
 public:
  explicit XmlParser(std::string_view text) : rest_(text) {}

  Result<XmlElement> Parse() {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
    DNC_TRY(SkipMisc());
    XmlElement root;
    DNC_TRY(TakeElement(&root, 1));
    DNC_TRY(SkipMisc());
    if (!rest_.empty()) return Broken("more behind its end");
    return root;
  }

 private:
  static Error Broken(const std::string& what) {
    return {ErrorCode::kCorrupt, "not well-formed XML: " + what};
  }

  bool Take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  void SkipSpace() {
    while (!rest_.empty() && IsSpace(rest_.front())) rest_.remove_prefix(1);
  }
  // Up to and with `token`.
  std::optional<std::string_view> TakeThrough(std::string_view token) {
    const std::size_t at = rest_.find(token);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view taken = rest_.substr(0, at);
    rest_.remove_prefix(at + token.size());
    return taken;
  }

  // Space, processing instructions and comments.
  Status SkipMisc() {
    for (;;) {
      SkipSpace();
      if (Take("<?")) {
        if (!TakeThrough("?>")) return Broken("an instruction without an end");
      } else if (Take("<!--")) {
        if (!TakeThrough("-->")) return Broken("a comment without an end");
      } else {
        return {};
      }
    }
  }

  Result<std::string> TakeName() {
    std::size_t size = 0;
    while (size < rest_.size() && IsNameChar(rest_[size])) ++size;
    if (size == 0 || size > kNameBytesMax) return Broken("a name that is none");
    std::string name(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return name;
  }

  // What follows the name in a start tag; true: the element is empty ("/>").
  Result<bool> TakeAttributes() {
    for (;;) {
      SkipSpace();
      if (Take("/>")) return true;
      if (Take(">")) return false;
      DNC_TRY(TakeName().status());
      SkipSpace();
      if (!Take("=")) return Broken("an attribute without a value");
      SkipSpace();
      const char quote = rest_.empty() ? '\0' : rest_.front();
      if (quote != '"' && quote != '\'') return Broken("an attribute without quotes");
      rest_.remove_prefix(1);
      const auto value = TakeThrough(std::string_view(&quote, 1));
      if (!value || value->find('<') != std::string_view::npos) {
        return Broken("an attribute without an end");
      }
    }
  }

  // "amp;" and so on, behind the '&'.
  Status TakeEntity(std::string* text) {
    static constexpr std::pair<std::string_view, char> kNamed[] = {
        {"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}};
    for (const auto& [name, character] : kNamed) {
      if (Take(name)) {
        text->push_back(character);
        return {};
      }
    }
    if (!Take("#")) return Broken("an unknown entity");
    const int base = Take("x") ? 16 : 10;
    std::uint32_t code = 0;
    const char* const end = rest_.data() + rest_.size();
    const auto [stop, error] = std::from_chars(rest_.data(), end, code, base);
    if (error != std::errc() || stop == end || *stop != ';' || code == 0 || code > 0x10ffff) {
      return Broken("a character's number that is none");
    }
    rest_.remove_prefix(static_cast<std::size_t>(stop - rest_.data()) + 1);
    AppendUtf8(code, text);
    return {};
  }

  static void AppendUtf8(std::uint32_t code, std::string* text) {
    const auto put = [text](std::uint32_t byte) { text->push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xc0 | code >> 6);
      put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      put(0xe0 | code >> 12);
      put(0x80 | (code >> 6 & 0x3f));
      put(0x80 | (code & 0x3f));
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3f));
      put(0x80 | (code >> 6 & 0x3f));
      put(0x80 | (code & 0x3f));
    }
  }

  Status TakeElement(XmlElement* element, int depth) {
    if (depth > kDepthMax || ++elements_ > kElementsMax) {
      return Error{ErrorCode::kTooLarge,
                   "XML nested more than 16 deep or of over 100,000 elements"};
    }
    if (!Take("<")) return Broken("no element");
    DNC_ASSIGN(const std::string name, TakeName());
    const std::size_t colon = name.find(':');
    element->name = colon == std::string::npos ? name : name.substr(colon + 1);
    DNC_ASSIGN(const bool empty, TakeAttributes());
    if (empty) return {};
    for (;;) {
      if (rest_.empty()) return Broken("it ends within <" + name + ">");
      if (Take("</")) {
        DNC_ASSIGN(const std::string end_name, TakeName());
        SkipSpace();
        if (end_name != name || !Take(">")) return Broken("<" + name + "> has no end");
        return {};
      }
      if (Take("<!--")) {
        if (!TakeThrough("-->")) return Broken("a comment without an end");
      } else if (rest_.front() == '<') {
        DNC_TRY(TakeElement(&element->children.emplace_back(), depth + 1));
      } else if (Take("&")) {
        DNC_TRY(TakeEntity(&element->text));
      } else {
        const std::size_t size = std::min(rest_.find_first_of("<&"), rest_.size());
        element->text += rest_.substr(0, size);
        rest_.remove_prefix(size);
      }
    }
  }

  std::string_view rest_;
  int elements_ = 0;
};

std::string EscapeXml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '"') {
      escaped += "&quot;";
    } else {
      escaped.push_back(c);
    }
  }
  return escaped;
}

}  // namespace

const XmlElement* XmlElement::Find(std::string_view child) const {
  const auto found = std::find_if(children.begin(), children.end(),
                                  [child](const XmlElement& e) { return e.name == child; });
  return found == children.end() ? nullptr : &*found;
}

std::string XmlElement::TextOf(std::string_view child) const {
  const XmlElement* const found = Find(child);
  return found == nullptr ? std::string() : found->text;
}

Result<XmlElement> ParseXml(std::string_view text) { return XmlParser(text).Parse(); }

Result<S3ListPage> ParseS3ListPage(std::string_view text) {
  DNC_ASSIGN(const XmlElement root, ParseXml(text));
  if (root.name != "ListBucketResult") {
    return Error{ErrorCode::kCorrupt, "not a list of objects: <" + root.name + ">"};
  }
  S3ListPage page;
  for (const XmlElement& child : root.children) {
    if (child.name != "Contents") continue;
    const XmlElement* const key = child.Find("Key");
    if (key == nullptr) return Error{ErrorCode::kCorrupt, "a list of objects, one without a key"};
    page.keys.push_back(key->text);
  }
  if (root.TextOf("IsTruncated") == "true") {
    page.next_token = root.TextOf("NextContinuationToken");
    if (page.next_token.empty()) {
      return Error{ErrorCode::kCorrupt, "a list of objects that ends early, without a token"};
    }
  }
  return page;
}

std::optional<S3ErrorBody> ParseS3Error(std::string_view text) {
  const Result<XmlElement> root = ParseXml(text);
  if (!root.ok() || root->name != "Error") return std::nullopt;
  return S3ErrorBody{root->TextOf("Code"), root->TextOf("Message"), root->TextOf("Region")};
}

Result<std::string> ParseS3UploadId(std::string_view text) {
  DNC_ASSIGN(const XmlElement root, ParseXml(text));
  std::string id = root.TextOf("UploadId");
  if (root.name != "InitiateMultipartUploadResult" || id.empty()) {
    return Error{ErrorCode::kCorrupt, "no upload's id in <" + root.name + ">"};
  }
  return id;
}

std::string FormatS3Completion(const std::vector<std::string>& etags) {
  std::string text = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (std::size_t i = 0; i < etags.size(); ++i) {
    text += "<Part><PartNumber>" + std::to_string(i + 1) + "</PartNumber><ETag>" +
            EscapeXml(etags[i]) + "</ETag></Part>";
  }
  return text + "</CompleteMultipartUpload>";
}

}  // namespace dnc::store
