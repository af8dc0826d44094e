// A libpq connection string, taken apart by libpq's own parser, and what of it may be shown.
//
// Nothing is recognised by a pattern: a password may stand in the wrong place (an @ that was not
// percent-encoded makes a part of it the host's name). So a value is shown only if its keyword is
// known to be harmless and the value has the form of what it claims to be.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace txcoord {

using DsnParameters = std::map<std::string, std::string>;  // keyword to value; set ones alone

// As libpq reads it, keyword form or URI. Empty for what libpq refuses: its own reason quotes the
// text, so nobody gets to see it.
std::optional<DsnParameters> parse_dsn(const std::string& dsn);

// The elements of a list of libpq's ("a,b,,c"): one at least, which may be empty.
std::vector<std::string> dsn_list(std::string_view list);

// For people, in keyword form: "host=db port=5432 dbname=log user=txcoord password=***".
std::string shown_dsn(const std::string& dsn);

// The value of `host` (one of its list), as far as it may be shown; "***" otherwise.
std::string shown_host(const std::string& host);

// The first line of what libpq says of a connection with these parameters. What stands there in
// double quotes is a value, and shown only if the parameters' shown form shows it as well.
std::string shown_message(const DsnParameters& parameters, std::string_view message);

// "http://host:port/prefix", or a word in its place if it may hold a secret.
std::string shown_url(const std::string& url);

}  // namespace txcoord
