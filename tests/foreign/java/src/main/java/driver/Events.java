package driver;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.github.centrifugal.centrifuge.Client;
import io.github.centrifugal.centrifuge.ConnectedEvent;
import io.github.centrifugal.centrifuge.ConnectingEvent;
import io.github.centrifugal.centrifuge.DisconnectedEvent;
import io.github.centrifugal.centrifuge.ErrorEvent;
import io.github.centrifugal.centrifuge.EventListener;
import io.github.centrifugal.centrifuge.MessageEvent;
import io.github.centrifugal.centrifuge.ServerJoinEvent;
import io.github.centrifugal.centrifuge.ServerLeaveEvent;
import io.github.centrifugal.centrifuge.ServerPublicationEvent;
import io.github.centrifugal.centrifuge.ServerSubscribedEvent;
import io.github.centrifugal.centrifuge.ServerSubscribingEvent;
import io.github.centrifugal.centrifuge.ServerUnsubscribedEvent;

/** The events of a connection and of its server-side subscriptions, written down as they come. */
final class Events extends EventListener {
    private final String name;
    private final Output output;

    Events(String name, Output output) {
        this.name = name;
        this.output = output;
    }

    private void say(String event, JsonObject fields) {
        fields.addProperty("of", name);
        fields.addProperty("event", event);
        output.write(fields);
    }

    private void sayOf(String channel, String event, JsonObject fields) {
        fields.addProperty("channel", channel);
        say("server_" + event, fields);
    }

    static JsonObject coded(int code, String reason) {
        JsonObject fields = new JsonObject();
        fields.addProperty("code", code);
        fields.addProperty("reason", reason);
        return fields;
    }

    static JsonObject holding(String key, JsonElement value) {
        JsonObject fields = new JsonObject();
        fields.add(key, value);
        return fields;
    }

    @Override
    public void onConnecting(Client client, ConnectingEvent event) {
        say("connecting", coded(event.getCode(), event.getReason()));
    }

    @Override
    public void onConnected(Client client, ConnectedEvent event) {
        JsonObject fields = holding("data", Shapes.value(event.getData()));
        fields.addProperty("client", event.getClient());
        say("connected", fields);
    }

    @Override
    public void onDisconnected(Client client, DisconnectedEvent event) {
        say("disconnected", coded(event.getCode(), event.getReason()));
    }

    @Override
    public void onError(Client client, ErrorEvent event) {
        say("error", Shapes.error(event.getError()));
    }

    @Override
    public void onMessage(Client client, MessageEvent event) {
        say("message", holding("data", Shapes.value(event.getData())));
    }

    @Override
    public void onSubscribed(Client client, ServerSubscribedEvent event) {
        JsonObject fields = holding("data", Shapes.value(event.getData()));
        fields.addProperty("recovered", event.getRecovered());
        fields.addProperty("was_recovering", event.wasRecovering());
        sayOf(event.getChannel(), "subscribed", fields);
    }

    @Override
    public void onSubscribing(Client client, ServerSubscribingEvent event) {
        sayOf(event.getChannel(), "subscribing", new JsonObject());
    }

    @Override
    public void onUnsubscribed(Client client, ServerUnsubscribedEvent event) {
        sayOf(event.getChannel(), "unsubscribed", new JsonObject());
    }

    @Override
    public void onPublication(Client client, ServerPublicationEvent event) {
        sayOf(
                event.getChannel(),
                "publication",
                Shapes.publication(event.getData(), event.getOffset(), event.getInfo(), event.getTags()));
    }

    @Override
    public void onJoin(Client client, ServerJoinEvent event) {
        sayOf(event.getChannel(), "join", holding("info", Shapes.info(event.getInfo())));
    }

    @Override
    public void onLeave(Client client, ServerLeaveEvent event) {
        sayOf(event.getChannel(), "leave", holding("info", Shapes.info(event.getInfo())));
    }
}
