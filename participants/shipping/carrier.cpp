// Japan's 47 prefectures by region, one simulated carrier a region.
#include "participants/shipping/carrier.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>

namespace txcoord {
namespace {

struct Region {
  std::string_view carrier, tracking_prefix;
};
constexpr Region hokkaido{"Kitakaze Express", "KZ"};
constexpr Region tohoku{"Michinoku Parcel", "MN"};
constexpr Region kanto{"Musashino Delivery", "MS"};
constexpr Region chubu{"Alps Freight", "AF"};
constexpr Region kinki{"Naniwa Courier", "NC"};
constexpr Region chugoku_shikoku{"Setouchi Lines", "SL"};
constexpr Region kyushu_okinawa{"Hayato Transport", "HT"};

constexpr Prefecture row(std::string_view name, std::string_view romaji, std::string_view suffix,
                         const Region& region) {
  return {name, romaji, suffix, region.carrier, region.tracking_prefix};
}

constexpr std::array<Prefecture, 47> prefectures{{
    row("北海道", "Hokkaido", "", hokkaido),
    row("青森県", "Aomori", "-ken", tohoku),
    row("岩手県", "Iwate", "-ken", tohoku),
    row("宮城県", "Miyagi", "-ken", tohoku),
    row("秋田県", "Akita", "-ken", tohoku),
    row("山形県", "Yamagata", "-ken", tohoku),
    row("福島県", "Fukushima", "-ken", tohoku),
    row("茨城県", "Ibaraki", "-ken", kanto),
    row("栃木県", "Tochigi", "-ken", kanto),
    row("群馬県", "Gunma", "-ken", kanto),
    row("埼玉県", "Saitama", "-ken", kanto),
    row("千葉県", "Chiba", "-ken", kanto),
    row("東京都", "Tokyo", "-to", kanto),
    row("神奈川県", "Kanagawa", "-ken", kanto),
    row("新潟県", "Niigata", "-ken", chubu),
    row("富山県", "Toyama", "-ken", chubu),
    row("石川県", "Ishikawa", "-ken", chubu),
    row("福井県", "Fukui", "-ken", chubu),
    row("山梨県", "Yamanashi", "-ken", chubu),
    row("長野県", "Nagano", "-ken", chubu),
    row("岐阜県", "Gifu", "-ken", chubu),
    row("静岡県", "Shizuoka", "-ken", chubu),
    row("愛知県", "Aichi", "-ken", chubu),
    row("三重県", "Mie", "-ken", kinki),
    row("滋賀県", "Shiga", "-ken", kinki),
    row("京都府", "Kyoto", "-fu", kinki),
    row("大阪府", "Osaka", "-fu", kinki),
    row("兵庫県", "Hyogo", "-ken", kinki),
    row("奈良県", "Nara", "-ken", kinki),
    row("和歌山県", "Wakayama", "-ken", kinki),
    row("鳥取県", "Tottori", "-ken", chugoku_shikoku),
    row("島根県", "Shimane", "-ken", chugoku_shikoku),
    row("岡山県", "Okayama", "-ken", chugoku_shikoku),
    row("広島県", "Hiroshima", "-ken", chugoku_shikoku),
    row("山口県", "Yamaguchi", "-ken", chugoku_shikoku),
    row("徳島県", "Tokushima", "-ken", chugoku_shikoku),
    row("香川県", "Kagawa", "-ken", chugoku_shikoku),
    row("愛媛県", "Ehime", "-ken", chugoku_shikoku),
    row("高知県", "Kochi", "-ken", chugoku_shikoku),
    row("福岡県", "Fukuoka", "-ken", kyushu_okinawa),
    row("佐賀県", "Saga", "-ken", kyushu_okinawa),
    row("長崎県", "Nagasaki", "-ken", kyushu_okinawa),
    row("熊本県", "Kumamoto", "-ken", kyushu_okinawa),
    row("大分県", "Oita", "-ken", kyushu_okinawa),
    row("宮崎県", "Miyazaki", "-ken", kyushu_okinawa),
    row("鹿児島県", "Kagoshima", "-ken", kyushu_okinawa),
    row("沖縄県", "Okinawa", "-ken", kyushu_okinawa),
}};

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_any_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool digits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::uint32_t hex_value(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint32_t>(c - 'a' + 10);
  throw std::invalid_argument("a shipment id is a lower-case uuid");
}

}  // namespace

bool valid_postal_code(std::string_view text) {
  if (text.size() == 7) return digits(text);
  return text.size() == 8 && text[3] == '-' && digits(text.substr(0, 3)) && digits(text.substr(4));
}

std::optional<Prefecture> find_prefecture(std::string_view text) {
  for (const Prefecture& prefecture : prefectures) {
    if (text == prefecture.name) return prefecture;
    if (text.size() < prefecture.romaji.size()) continue;
    const std::string_view rest = text.substr(prefecture.romaji.size());
    if (!equal_any_case(text.substr(0, prefecture.romaji.size()), prefecture.romaji)) continue;
    if (rest.empty() || equal_any_case(rest, prefecture.suffix)) return prefecture;
  }
  return std::nullopt;
}

std::string tracking_number(std::string_view prefix, std::string_view shipment_id) {
  constexpr std::string_view alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::string result(prefix);
  // 130 bits as 26 letters: two zero bits in front of the id's 128.
  std::uint32_t bits = 0;
  int count = 2;
  for (const char c : shipment_id) {
    if (c == '-') continue;
    bits = bits << 4 | hex_value(c);
    count += 4;
    if (count >= 5) {
      count -= 5;
      result += alphabet[bits >> count & 31U];
      bits &= (1U << count) - 1U;
    }
  }
  return result;
}

}  // namespace txcoord
