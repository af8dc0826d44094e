// See assembly.hpp.
#include "txcoord/cli/assembly.hpp"

#include "participants/remote/remote_participant.hpp"
#include "participants/remote/remote_services.hpp"

namespace txcoord::cli {
namespace {

using remote::BreakerState;
using remote::RemoteService;

class Assembly {
 public:
  Assembly(const asio::any_io_executor& io, const Settings& settings, Metrics& metrics)
      : io_(io),
        settings_(settings),
        metrics_(metrics),
        deadlines_(participant_deadlines(settings.engine)) {}

  Services make() {
    Services services;
    if (const auto service = remote("order"))
      services.order = {participant("order", service),
                        remote::make_remote_order(service, deadlines_.service)};
    else
      services.order = make_order(io_, database("order"), &metrics_, deadlines_);
    if (const auto service = remote("inventory"))
      services.inventory = {participant("inventory", service),
                            remote::make_remote_inventory(service, deadlines_.service)};
    else
      services.inventory = make_inventory(io_, database("inventory"), &metrics_, deadlines_);
    if (const auto service = remote("payment"))
      services.payment = {participant("payment", service),
                          remote::make_remote_payment(service, deadlines_.service),
                          remote::make_remote_settler(service, deadlines_.service, &metrics_)};
    else
      services.payment = make_payment(io_, database("payment"), &metrics_, deadlines_);
    if (const auto service = remote("shipping"))
      services.shipping = {participant("shipping", service),
                           remote::make_remote_shipping(service, deadlines_.service)};
    else
      services.shipping = make_shipping(io_, database("shipping"), &metrics_, deadlines_);
    services.remote = std::move(by_participant_);
    return services;
  }

 private:
  const DatabaseSettings& database(const std::string& name) const {
    return settings_.participants.at(name);
  }

  std::unique_ptr<Participant> participant(const std::string& name,
                                           const std::shared_ptr<RemoteService>& service) {
    return remote::make_remote_participant(name, service, deadlines_, &metrics_);
  }

  // Null: in this process. Participants with the same url share its connections and its breaker.
  std::shared_ptr<RemoteService> remote(const std::string& name) {
    const std::string& text = database(name).url;
    if (text.empty()) return nullptr;
    std::shared_ptr<RemoteService>& service = by_url_[text];
    if (service == nullptr) {
      try {
        service =
            std::make_shared<RemoteService>(io_, remote::parse_url(text), settings_.internal_token);
      } catch (const std::invalid_argument& wrong) {
        throw SettingsError("participants." + name + ".url: " + wrong.what());
      }
    }
    by_participant_[name] = service;
    metrics_.breaker(name, static_cast<int>(service->breaker()));
    service->on_breaker([&metrics = metrics_, name](BreakerState state) {
      metrics.breaker(name, static_cast<int>(state));
    });
    return service;
  }

  asio::any_io_executor io_;
  const Settings& settings_;
  Metrics& metrics_;
  ParticipantDeadlines deadlines_;
  std::map<std::string, std::shared_ptr<RemoteService>> by_url_, by_participant_;
};

}  // namespace

Services make_services(const asio::any_io_executor& io, const Settings& settings,
                       Metrics& metrics) {
  return Assembly(io, settings, metrics).make();
}

std::vector<Participant*> participants_of(const Services& services) {
  return {services.order.participant.get(), services.inventory.participant.get(),
          services.payment.participant.get(), services.shipping.participant.get()};
}

std::map<std::string, std::function<std::string_view()>> breakers_of(const Services& services) {
  std::map<std::string, std::function<std::string_view()>> breakers;
  for (const auto& [name, service] : services.remote)
    breakers[name] = [service] { return remote::state_word(service->breaker()); };
  return breakers;
}

}  // namespace txcoord::cli
