package driver;

import com.google.gson.JsonObject;
import io.github.centrifugal.centrifuge.JoinEvent;
import io.github.centrifugal.centrifuge.LeaveEvent;
import io.github.centrifugal.centrifuge.PublicationEvent;
import io.github.centrifugal.centrifuge.SubscribedEvent;
import io.github.centrifugal.centrifuge.SubscribingEvent;
import io.github.centrifugal.centrifuge.Subscription;
import io.github.centrifugal.centrifuge.SubscriptionErrorEvent;
import io.github.centrifugal.centrifuge.SubscriptionEventListener;
import io.github.centrifugal.centrifuge.UnsubscribedEvent;

/** The events of one subscription, written down as they come. */
final class SubscriptionEvents extends SubscriptionEventListener {
    private final String name;
    private final Output output;

    SubscriptionEvents(String name, Output output) {
        this.name = name;
        this.output = output;
    }

    private void say(Subscription subscription, String event, JsonObject fields) {
        fields.addProperty("of", name);
        fields.addProperty("channel", subscription.getChannel());
        fields.addProperty("event", event);
        output.write(fields);
    }

    @Override
    public void onSubscribing(Subscription subscription, SubscribingEvent event) {
        say(subscription, "subscribing", Events.coded(event.getCode(), event.getReason()));
    }

    @Override
    public void onSubscribed(Subscription subscription, SubscribedEvent event) {
        JsonObject fields = Events.holding("data", Shapes.value(event.getData()));
        fields.addProperty("recovered", event.getRecovered());
        fields.addProperty("was_recovering", event.wasRecovering());
        fields.addProperty("positioned", event.getPositioned());
        fields.addProperty("recoverable", event.getRecoverable());
        say(subscription, "subscribed", fields);
    }

    @Override
    public void onUnsubscribed(Subscription subscription, UnsubscribedEvent event) {
        say(subscription, "unsubscribed", Events.coded(event.getCode(), event.getReason()));
    }

    @Override
    public void onPublication(Subscription subscription, PublicationEvent event) {
        say(
                subscription,
                "publication",
                Shapes.publication(event.getData(), event.getOffset(), event.getInfo(), event.getTags()));
    }

    @Override
    public void onJoin(Subscription subscription, JoinEvent event) {
        say(subscription, "join", Events.holding("info", Shapes.info(event.getInfo())));
    }

    @Override
    public void onLeave(Subscription subscription, LeaveEvent event) {
        say(subscription, "leave", Events.holding("info", Shapes.info(event.getInfo())));
    }

    @Override
    public void onError(Subscription subscription, SubscriptionErrorEvent event) {
        say(subscription, "error", Shapes.error(event));
    }
}
