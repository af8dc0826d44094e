"""The simulated carriers: which of Japan's 47 prefectures each serves, and their tracking numbers.

What a shipping service knows beside the protocol. The same facts, told by another program, are in
participants/shipping/carrier.cpp; test_conformance.py holds the two against each other.
"""
import re
import uuid

CARRIERS = (
    ("Kitakaze Express", "KZ", "北海道 Hokkaido"),
    ("Michinoku Parcel", "MN", "青森県 Aomori 岩手県 Iwate 宮城県 Miyagi 秋田県 Akita 山形県 Yamagata 福島県 Fukushima"),
    ("Musashino Delivery", "MS", "茨城県 Ibaraki 栃木県 Tochigi 群馬県 Gunma 埼玉県 Saitama 千葉県 Chiba 東京都 Tokyo"
                                 " 神奈川県 Kanagawa"),
    ("Alps Freight", "AF", "新潟県 Niigata 富山県 Toyama 石川県 Ishikawa 福井県 Fukui 山梨県 Yamanashi 長野県 Nagano"
                           " 岐阜県 Gifu 静岡県 Shizuoka 愛知県 Aichi"),
    ("Naniwa Courier", "NC", "三重県 Mie 滋賀県 Shiga 京都府 Kyoto 大阪府 Osaka 兵庫県 Hyogo 奈良県 Nara 和歌山県 Wakayama"),
    ("Setouchi Lines", "SL", "鳥取県 Tottori 島根県 Shimane 岡山県 Okayama 広島県 Hiroshima 山口県 Yamaguchi"
                             " 徳島県 Tokushima 香川県 Kagawa 愛媛県 Ehime 高知県 Kochi"),
    ("Hayato Transport", "HT", "福岡県 Fukuoka 佐賀県 Saga 長崎県 Nagasaki 熊本県 Kumamoto 大分県 Oita 宮崎県 Miyazaki"
                               " 鹿児島県 Kagoshima 沖縄県 Okinawa"),
)
SUFFIXES = {"都": "-to", "道": "", "府": "-fu", "県": "-ken"}
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _by_prefecture():
    served = {}
    for carrier, prefix, words in CARRIERS:
        names = words.split()
        for name, romaji in zip(names[::2], names[1::2]):
            for spelling in (name, romaji.lower(), romaji.lower() + SUFFIXES[name[-1]]):
                served[spelling] = (carrier, prefix)
    return served


SERVED = _by_prefecture()


def carrier_of(prefecture):
    """(carrier, prefix of its tracking numbers) by 東京都, Tokyo or Tokyo-to; None: nobody serves it."""
    return SERVED.get(prefecture.lower() if prefecture.isascii() else prefecture)


def valid_postal_code(text):
    return re.fullmatch(r"[0-9]{3}-?[0-9]{4}", text) is not None


def tracking_number(prefix, shipment_id):
    """The prefix and the id's 128 bits as 26 letters: one shipment, one number, however often it is made."""
    value = uuid.UUID(shipment_id).int
    return prefix + "".join(CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
