package driver;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.github.centrifugal.centrifuge.ClientInfo;
import io.github.centrifugal.centrifuge.HistoryResult;
import io.github.centrifugal.centrifuge.PresenceResult;
import io.github.centrifugal.centrifuge.PresenceStatsResult;
import io.github.centrifugal.centrifuge.Publication;
import io.github.centrifugal.centrifuge.SubscriptionErrorEvent;
import io.github.centrifugal.centrifuge.SubscriptionSubscribeError;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** What the SDK gives, as JSON: keys in snake_case, data (bytes that hold JSON) as its value. */
final class Shapes {
    private Shapes() {}

    static JsonElement value(byte[] data) {
        return data == null || data.length == 0
                ? JsonNull.INSTANCE
                : JsonParser.parseString(new String(data, StandardCharsets.UTF_8));
    }

    static byte[] bytes(JsonElement value) {
        return value.toString().getBytes(StandardCharsets.UTF_8);
    }

    static JsonObject error(Throwable error) {
        Throwable cause = error;
        if (cause instanceof SubscriptionErrorEvent event) {
            cause = event.getError();
        }
        if (cause instanceof SubscriptionSubscribeError refused) {
            cause = refused.getError();
        }
        JsonObject shape = new JsonObject();
        shape.addProperty("code", Main.codeOf(cause));
        shape.addProperty("message", cause.getMessage() == null ? cause.toString() : cause.getMessage());
        return shape;
    }

    static JsonElement info(ClientInfo info) {
        if (info == null || info.getClient().isEmpty()) { // the SDK has an empty one where there is none
            return JsonNull.INSTANCE;
        }
        JsonObject shape = new JsonObject();
        shape.addProperty("user", info.getUser());
        shape.addProperty("client", info.getClient());
        shape.add("conn_info", value(info.getConnInfo()));
        shape.add("chan_info", value(info.getChanInfo()));
        return shape;
    }

    static JsonObject publication(byte[] data, long offset, ClientInfo info, Map<String, String> tags) {
        JsonObject shape = new JsonObject();
        shape.add("data", value(data));
        shape.addProperty("offset", offset);
        shape.add("info", info(info));
        JsonObject all = new JsonObject();
        if (tags != null) {
            tags.forEach(all::addProperty);
        }
        shape.add("tags", all);
        return shape;
    }

    static JsonObject presence(PresenceResult result) {
        JsonObject clients = new JsonObject();
        result.getClients().forEach((client, info) -> clients.add(client, info(info)));
        JsonObject shape = new JsonObject();
        shape.add("clients", clients);
        return shape;
    }

    static JsonObject stats(PresenceStatsResult result) {
        JsonObject shape = new JsonObject();
        shape.addProperty("num_clients", result.getNumClients());
        shape.addProperty("num_users", result.getNumUsers());
        return shape;
    }

    static JsonObject history(HistoryResult result) {
        JsonArray publications = new JsonArray();
        for (Publication each : result.getPublications()) {
            publications.add(publication(each.getData(), each.getOffset(), each.getInfo(), null));
        }
        JsonObject shape = new JsonObject();
        shape.add("publications", publications);
        shape.addProperty("offset", result.getOffset());
        shape.addProperty("epoch", result.getEpoch());
        return shape;
    }
}
