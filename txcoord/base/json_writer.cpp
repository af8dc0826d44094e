// See json_writer.hpp.
#include "txcoord/base/json_writer.hpp"

#include <array>

#include "txcoord/base/utf8.hpp"

namespace txcoord {
namespace {

constexpr char hex_digits[] = "0123456789abcdef";

// Bytes that stand for themselves inside a JSON string: printable ASCII but '"' and '\'.
constexpr auto plain_bytes = [] {
  std::array<bool, 256> plain{};
  for (unsigned c = 0x20; c < 0x7F; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

void append_control(std::string& out, unsigned char c) {
  switch (c) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    case '\b': out += "\\b"; return;
    case '\f': out += "\\f"; return;
    default: break;
  }
  out += "\\u00";
  out.push_back(hex_digits[c >> 4U]);
  out.push_back(hex_digits[c & 0x0FU]);
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    std::size_t run = 0;
    while (run < text.size() && plain_bytes[static_cast<unsigned char>(text[run])]) ++run;
    out.append(text.substr(0, run));
    text.remove_prefix(run);
    if (text.empty()) break;
    const auto c = static_cast<unsigned char>(text.front());
    std::size_t used = 1;
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c < 0x20 || c == 0x7F) {
      append_control(out, c);
    } else if (const CodePoint point = decode_utf8(text); point.bytes > 0) {
      out.append(text.substr(0, point.bytes));
      used = point.bytes;
    } else {
      out += "\xEF\xBF\xBD";
    }
    text.remove_prefix(used);
  }
  out.push_back('"');
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  append_json_string(out_, name);
  out_.push_back(':');
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_json_string(out_, text);
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  out_.append(json);
  return *this;
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  out_.push_back(bracket);
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  out_.push_back(bracket);
  return *this;
}

// What was written last says whether a comma is due, so the writer keeps no stack.
void JsonWriter::separate() {
  if (out_.empty()) return;
  const char last = out_.back();
  if (last != '{' && last != '[' && last != ':') out_.push_back(',');
}

}  // namespace txcoord
