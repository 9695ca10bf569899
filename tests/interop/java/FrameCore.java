// FrameCore.java - frames and headers themselves, and what a name server answers.

import java.io.IOException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

final class FrameCore {
	private FrameCore() {
	}

	static void add() {
		Suite.add("unknown-code", () -> {
			try (Wire broker = Wire.broker(); Wire namesrv = Wire.namesrv()) {
				return "broker " + broker.call(9999).say() + " namesrv "
					+ namesrv.call(9999).say();
			}
		});
		Suite.add("header-reply", FrameCore::reply);
		Suite.add("header-opaque", FrameCore::opaque);
		Suite.add("header-oneway", FrameCore::oneway);
		Suite.add("header-unknown-keys", FrameCore::unknownKeys);
		Suite.add("header-raw-values", FrameCore::rawValues);
		Suite.add("header-bare-minimum", () -> raw("{\"code\":105,\"flag\":0,\"opaque\":7,"
			+ "\"extFields\":{\"topic\":\"TBW102\"}}\n"));
		Suite.add("header-no-ext", () -> {
			try (Wire wire = Wire.broker()) {
				wire.send(0, wire.header(30, 0, 5, null), new byte[0]);
				return wire.read().say();
			}
		});
		Suite.add("header-binary", FrameCore::binary);
		Suite.add("header-bad-json", () -> refused(frame(0, "{\"code\":", 0)));
		Suite.add("header-bad-type", () -> refused(frame(7, "{}", 0)));
		Suite.add("header-longer-than-frame", () -> refused(frame(0, "{}", 100)));
		Suite.add("frame-too-large", () -> refused(
			java.util.Arrays.copyOf(new byte[] {1, 0, 0, 1, 0, 0, 0, 2}, 40)));
		Suite.add("frame-negative-length", () -> refused(
			java.util.Arrays.copyOf(new byte[] {-1, -1, -1, -1, 0, 0, 0, 2}, 40)));
		Suite.add("frame-in-pieces", FrameCore::pieces);
		Suite.add("frame-pipelined", FrameCore::pipelined);
		Suite.add("vip-port", FrameCore::vip);
		Suite.add("ns-route", FrameCore::route);
		Suite.add("ns-route-old-client", FrameCore::routeOld);
		Suite.add("ns-route-unknown", () -> {
			try (Wire wire = Wire.namesrv()) {
				return wire.call(105, "topic", "no-such").say() + " without a topic "
					+ wire.call(105).say();
			}
		});
		Suite.add("ns-cluster", () -> {
			try (Wire wire = Wire.namesrv()) {
				Wire.Answer a = wire.call(106);
				return a.code + " " + ((Map<?, ?>) a.json()).keySet() + " "
					+ Wire.shape(a.at("brokerAddrTable", "broker-a")) + " cluster "
					+ a.at("clusterAddrTable", "DefaultCluster");
			}
		});
		Suite.add("ns-topic-list", FrameCore::topicList);
		Suite.add("ns-kv", FrameCore::kv);
		Suite.add("ns-config", () -> {
			try (Wire wire = Wire.namesrv()) {
				Wire.Answer a = wire.call(319);
				String text = new String(a.body, StandardCharsets.UTF_8);
				return a.code + " names its port: " + text.contains("listenPort=");
			}
		});
		Suite.add("ns-register", FrameCore::register);
	}

	private static byte[] frame(int type, String header, int more) {
		int length = header.length();
		byte[] f = new byte[8 + length + 32]; // enough bytes to judge
		f[3] = (byte) (4 + length + (more == 0 ? 0 : 32));
		f[4] = (byte) type;
		f[7] = (byte) (length + more);
		System.arraycopy(header.getBytes(StandardCharsets.UTF_8), 0, f, 8, length);
		return f;
	}

	// Broken frames: the connection is closed or stays silent; others do not notice.
	private static String refused(byte[] bytes) throws IOException {
		try (Wire wire = Wire.broker(); Wire other = Wire.broker()) {
			wire.out.write(bytes);
			wire.out.flush();
			wire.socket.setSoTimeout(2000);
			String what;
			try {
				what = wire.closed() ? "closed" : "answered";
			} catch (SocketTimeoutException e) {
				what = "no answer";
			}
			return what + ", another is answered " + other.call(9999).code;
		}
	}

	private static String raw(String header) throws IOException {
		try (Wire wire = Wire.namesrv()) {
			wire.send(0, header, new byte[0]);
			Wire.Answer a = wire.read();
			return a.code + " opaque=" + a.opaque;
		}
	}

	private static String reply() throws IOException {
		try (Wire wire = Wire.broker()) {
			Wire.Answer a = wire.call(9999);
			return "type=" + a.type + " flag=" + a.flag + " language=" + a.language
				+ " new enough for filters=" + (a.version >= 232) + " remark="
				+ (a.remark != null);
		}
	}

	private static String opaque() throws IOException {
		StringBuilder s = new StringBuilder();
		try (Wire wire = Wire.broker()) {
			for (int opaque : new int[] {0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE}) {
				wire.send(0, wire.header(9999, 0, opaque, null), new byte[0]);
				s.append(wire.read().opaque).append(' ');
			}
		}
		return s.toString();
	}

	private static String oneway() throws IOException {
		try (Wire wire = Wire.broker()) {
			wire.send(0, wire.header(30, 2, 1, Wire.ext("topic", "TBW102", "queueId", 0)),
				new byte[0]);
			wire.send(0, wire.header(9999, 0, 2, null), new byte[0]);
			return "first answer is to opaque " + wire.read().opaque;
		}
	}

	private static String unknownKeys() throws IOException {
		return raw("{\"zzz\":[1,{\"a\":null}],\"version\":479,\"extFields\":{\"topic\":"
			+ "\"TBW102\",\"zz\":\"y\"},\"opaque\":3,\"flag\":0,\"code\":105}");
	}

	private static String rawValues() throws Exception {
		String topic = Ask.topic("raw-values", 1);
		try (Wire wire = Wire.broker()) {
			wire.send(0, "{\"code\":30,\"flag\":0,\"opaque\":1,\"version\":121,"
				+ "\"language\":\"JAVA\",\"extFields\":{\"topic\":\"" + topic
				+ "\",\"queueId\":0,\"committed\":true,\"x\":null}}", new byte[0]);
			return wire.read().say("offset");
		}
	}

	private static String binary() throws Exception {
		String topic = Ask.topic("binary", 1);
		try (Wire wire = Wire.broker()) {
			wire.send(1, Wire.binaryHeader(30, 77, Wire.ext("topic", topic, "queueId", 0)),
				new byte[0]);
			Wire.Answer max = wire.read();
			wire.send(1, Wire.binaryHeader(10, 78, Ask.sendExt(topic, 0, "")),
				"x".getBytes(StandardCharsets.UTF_8));
			Wire.Answer sent = wire.read();
			return max.say("offset") + " opaque=" + max.opaque + " send "
				+ sent.say("queueId", "queueOffset");
		}
	}

	private static String pieces() throws Exception {
		try (Wire wire = Wire.broker()) {
			byte[] f = frame(0, "{\"code\":9999,\"flag\":0,\"opaque\":6}", 0);
			for (byte b : java.util.Arrays.copyOf(f, f.length - 32)) {
				wire.out.write(b);
				wire.out.flush();
			}
			return wire.read().say();
		}
	}

	private static String pipelined() throws IOException {
		try (Wire wire = Wire.broker()) {
			java.util.Set<Integer> answered = new java.util.TreeSet<>();
			for (int i = 1; i <= 200; i++)
				wire.send(0, wire.header(9999, 0, i, null), new byte[0]);
			for (int i = 1; i <= 200; i++)
				answered.add(wire.read().opaque);
			return answered.size() + " answers to 200 requests";
		}
	}

	// Older clients speak to the port two below for most requests.
	private static String vip() throws IOException {
		int colon = Suite.broker.lastIndexOf(':');
		int port = Integer.parseInt(Suite.broker.substring(colon + 1)) - 2;
		try (Wire wire = new Wire(Suite.broker.substring(0, colon + 1) + port)) {
			return wire.call(351, "topic", "TBW102").say();
		}
	}

	private static String route() throws Exception {
		String topic = Ask.topic("route", 3, 2, 6);
		try (Wire wire = Wire.namesrv()) {
			Wire.Answer a = wire.call(105, "topic", topic);
			Map<?, ?> queues = (Map<?, ?>) a.at("queueDatas", 0);
			return a.code + " " + Wire.shape(a.json()) + " " + queues + " address "
				+ a.at("brokerDatas", 0, "brokerAddrs", "0");
		}
	}

	// Before 4.9.4 the keys of brokerAddrs may come bare; all clients read both.
	private static String routeOld() throws IOException {
		try (Wire wire = Wire.namesrv()) {
			wire.version = 317;
			Wire.Answer a = wire.call(105, "topic", "TBW102");
			String text = new String(a.body, StandardCharsets.UTF_8);
			return a.code + " white space in brokerAddrs: "
				+ text.matches("(?s).*brokerAddrs\":\\{[^}]*\\s.*");
		}
	}

	private static String topicList() throws Exception {
		String topic = Ask.topic("listed", 1);
		try (Wire wire = Wire.namesrv()) {
			Wire.Answer all = wire.call(206);
			Wire.Answer system = wire.call(304);
			Wire.Answer cluster = wire.call(224, "cluster", "DefaultCluster");
			String list = String.valueOf(all.at("topicList"));
			return all.code + " there: " + list.contains(topic) + " TBW102: "
				+ list.contains("TBW102") + " system " + system.code + " "
				+ own((List<?>) system.at("topicList")) + " brokerAddr="
				+ (system.at("brokerAddr") != null) + " of cluster " + cluster.code
				+ " " + String.valueOf(cluster.at("topicList")).contains(topic);
		}
	}

	// Without what another case registers meanwhile.
	private static TreeSet<Object> own(List<?> names) {
		TreeSet<Object> own = new TreeSet<>(names);
		own.removeIf(name -> name.toString().contains(Suite.STAMP));
		return own;
	}

	private static String kv() throws IOException {
		String space = Suite.fresh("SPACE");
		try (Wire wire = Wire.namesrv()) {
			StringBuilder s = new StringBuilder();
			Object[] where = {"namespace", space, "key", "k"};
			s.append("get ").append(wire.call(101, where).say("value"));
			s.append(" put ").append(wire.call(100, "namespace", space, "key", "k", "value",
				"a b=c").say());
			s.append(" get ").append(wire.call(101, where).say("value"));
			Wire.Answer list = wire.call(219, "namespace", space);
			s.append(" list ").append(list.code).append(' ').append(list.at("table"));
			s.append(" delete ").append(wire.call(102, where).say());
			s.append(" get ").append(wire.call(101, where).say("value"));
			s.append(" list ").append(wire.call(219, "namespace", space).code);
			s.append(" no such space ").append(wire.call(219, "namespace", "none").code);
			return s.toString();
		}
	}

	// A broker that registers itself with a topic, is routed to, and leaves.
	private static String register() throws Exception {
		String name = Suite.fresh("other");
		String topic = Suite.fresh("elsewhere");
		String other = Suite.fresh("beside");
		String config = "{\"topicName\":\"%s\",\"readQueueNums\":2,\"writeQueueNums\":2,"
			+ "\"perm\":6,\"topicFilterType\":\"SINGLE_TAG\",\"topicSysFlag\":0,"
			+ "\"order\":false}";
		String body = "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{"
			+ "\"dataVersion\":{\"counter\":1,\"stateVersion\":0,\"timestamp\":1},"
			+ "\"topicConfigTable\":{\"" + topic + "\":" + String.format(config, topic)
			+ ",\"" + other + "\":" + String.format(config, other) + "}}}";
		Map<String, String> who = Wire.ext("brokerName", name, "brokerAddr", "127.0.0.1:1",
			"clusterName", name, "haServerAddr", "127.0.0.1:2", "brokerId", 0);
		try (Wire broker = Wire.namesrv(); Wire client = Wire.namesrv()) {
			StringBuilder s = new StringBuilder();
			s.append(broker.call(103, who, body).keys());
			s.append(" route ").append(client.call(105, "topic", topic).code);
			who.remove("haServerAddr");
			who.put("dataVersion", "");
			Wire.Answer version = broker.call(322, who,
				"{\"counter\":1,\"stateVersion\":0,\"timestamp\":1}");
			s.append(" same version: ").append(version.say("changed"));
			s.append(" unregister ").append(broker.call(104, who, "").say());
			Suite.until(10, "route gone", () -> client.call(105, "topic", topic).code == 17);
			return s.toString();
		}
	}
}
