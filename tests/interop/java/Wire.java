// Wire.java - request and answer frames over a plain socket, and enough JSON to
// look into them. Knows nothing of any client library.

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

final class Wire implements Closeable {
	private static int nextOpaque = 1;

	final Socket socket;
	final DataInputStream in;
	final DataOutputStream out;
	int version = 479;

	Wire(String address) throws IOException {
		int colon = address.lastIndexOf(':');
		socket = new Socket(address.substring(0, colon),
			Integer.parseInt(address.substring(colon + 1)));
		socket.setTcpNoDelay(true);
		socket.setSoTimeout(40_000);
		in = new DataInputStream(socket.getInputStream());
		out = new DataOutputStream(socket.getOutputStream());
	}

	static Wire broker() throws IOException {
		return new Wire(Suite.broker);
	}

	static Wire namesrv() throws IOException {
		return new Wire(Suite.namesrv);
	}

	@Override
	public void close() throws IOException {
		socket.close();
	}

	// --- frames -------------------------------------------------------------

	static final class Answer {
		int type;
		int code;
		int flag;
		int opaque;
		int version;
		String language;
		String remark;
		Map<String, String> ext = new TreeMap<>();
		byte[] body;

		Object json() {
			return new Json(new String(body, StandardCharsets.UTF_8)).value();
		}

		// The value at a path of keys and list indices, null where there is none.
		@SuppressWarnings("unchecked")
		Object at(Object... path) {
			Object v = json();
			for (Object step : path) {
				if (v instanceof List && (int) step < ((List<Object>) v).size())
					v = ((List<Object>) v).get((int) step);
				else
					v = v instanceof Map ? ((Map<String, Object>) v).get(step) : null;
			}
			return v;
		}

		long number(String key) {
			return Long.parseLong(ext.get(key));
		}

		// "code", or "code key=value..." of the ext entries named, "-" if absent.
		String say(String... keys) {
			StringBuilder s = new StringBuilder().append(code);
			for (String key : keys)
				s.append(' ').append(key).append('=').append(
					ext.getOrDefault(key, "-"));
			return s.toString();
		}

		String keys() {
			return code + " ext:" + String.join(",", ext.keySet());
		}
	}

	static Map<String, String> ext(Object... pairs) {
		Map<String, String> m = new LinkedHashMap<>();
		for (int i = 0; i + 1 < pairs.length; i += 2)
			m.put((String) pairs[i], String.valueOf(pairs[i + 1]));
		return m;
	}

	static synchronized int opaque() {
		return nextOpaque++;
	}

	String header(int code, int flag, int opaque, Map<String, String> ext) {
		StringBuilder s = new StringBuilder("{\"code\":" + code);
		if (ext != null)
			s.append(",\"extFields\":").append(Json.text(ext));
		return s + ",\"flag\":" + flag + ",\"language\":\"JAVA\",\"opaque\":" + opaque
			+ ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":" + version + "}";
	}

	void send(int type, byte[] header, byte[] body) throws IOException {
		out.writeInt(4 + header.length + body.length);
		out.writeInt(type << 24 | header.length);
		out.write(header);
		out.write(body);
		out.flush();
	}

	void send(int type, String header, byte[] body) throws IOException {
		send(type, header.getBytes(StandardCharsets.UTF_8), body);
	}

	Answer call(int code, Map<String, String> ext, byte[] body) throws IOException {
		int opaque = opaque();
		send(0, header(code, 0, opaque, ext), body);
		for (;;) {
			Answer answer = read();
			if ((answer.flag & 1) != 0 && answer.opaque == opaque)
				return answer;
		}
	}

	Answer call(int code, Map<String, String> ext, String body) throws IOException {
		return call(code, ext, body.getBytes(StandardCharsets.UTF_8));
	}

	Answer call(int code, Object... pairs) throws IOException {
		return call(code, ext(pairs), new byte[0]);
	}

	Answer read() throws IOException {
		byte[] frame = new byte[in.readInt()];
		in.readFully(frame);
		ByteBuffer b = ByteBuffer.wrap(frame);
		int lengths = b.getInt();
		byte[] header = new byte[lengths & 0xFFFFFF];
		b.get(header);
		Answer answer = new Answer();
		answer.type = lengths >>> 24;
		answer.body = new byte[b.remaining()];
		b.get(answer.body);
		if (answer.type == 0)
			readJson(answer, header);
		else
			readBinary(answer, ByteBuffer.wrap(header));
		return answer;
	}

	// True if the server closes the connection without a word.
	boolean closed() throws IOException {
		try {
			in.readByte();
			return false;
		} catch (EOFException | java.net.SocketException e) {
			return true;
		}
	}

	@SuppressWarnings("unchecked")
	private static void readJson(Answer a, byte[] header) {
		Map<String, Object> h = (Map<String, Object>) new Json(
			new String(header, StandardCharsets.UTF_8)).value();
		a.code = ((Number) h.get("code")).intValue();
		a.flag = ((Number) h.get("flag")).intValue();
		a.opaque = ((Number) h.get("opaque")).intValue();
		a.version = ((Number) h.getOrDefault("version", 0)).intValue();
		a.language = (String) h.get("language");
		a.remark = (String) h.get("remark");
		Map<String, Object> ext = (Map<String, Object>) h.get("extFields");
		if (ext != null)
			ext.forEach((k, v) -> a.ext.put(k, String.valueOf(v)));
	}

	private static void readBinary(Answer a, ByteBuffer b) {
		a.code = b.getShort();
		a.language = String.valueOf(b.get());
		a.version = b.getShort();
		a.opaque = b.getInt();
		a.flag = b.getInt();
		a.remark = text(b, b.getInt());
		int end = b.getInt();
		end += b.position();
		while (b.position() < end) {
			String key = text(b, b.getShort());
			a.ext.put(key, text(b, b.getInt()));
		}
	}

	private static String text(ByteBuffer b, int length) {
		byte[] bytes = new byte[length];
		b.get(bytes);
		return new String(bytes, StandardCharsets.UTF_8);
	}

	static byte[] binaryHeader(int code, int opaque, Map<String, String> ext) {
		ByteArrayOutputStream map = new ByteArrayOutputStream();
		ext.forEach((k, v) -> {
			byte[] key = k.getBytes(StandardCharsets.UTF_8);
			byte[] value = v.getBytes(StandardCharsets.UTF_8);
			ByteBuffer one = ByteBuffer.allocate(6 + key.length + value.length);
			one.putShort((short) key.length).put(key);
			one.putInt(value.length).put(value);
			map.write(one.array(), 0, one.capacity());
		});
		ByteBuffer b = ByteBuffer.allocate(21 + map.size());
		b.putShort((short) code).put((byte) 0).putShort((short) 479);
		b.putInt(opaque).putInt(0).putInt(0);
		return b.putInt(map.size()).put(map.toByteArray()).array();
	}

	// --- stored messages ----------------------------------------------------

	static final class Stored {
		int queueId;
		long queueOffset;
		long logOffset;
		int sysFlag;
		int reconsumeTimes;
		String body;
		String topic;
		Map<String, String> properties = new TreeMap<>();
	}

	static List<Stored> messages(byte[] body) {
		List<Stored> all = new ArrayList<>();
		ByteBuffer b = ByteBuffer.wrap(body);
		while (b.hasRemaining()) {
			Stored m = new Stored();
			int end = b.position() + b.getInt();
			Suite.same(0xDAA320A7, b.getInt(), "magic");
			b.getInt();
			m.queueId = b.getInt();
			b.getInt();
			m.queueOffset = b.getLong();
			m.logOffset = b.getLong();
			m.sysFlag = b.getInt();
			b.position(b.position() + 8 + 8 + 8 + 8);
			m.reconsumeTimes = b.getInt();
			b.getLong();
			m.body = text(b, b.getInt());
			m.topic = text(b, b.get());
			for (String p : text(b, b.getShort()).split("\2"))
				if (p.indexOf(1) > 0)
					m.properties.put(p.substring(0, p.indexOf(1)),
						p.substring(p.indexOf(1) + 1));
			Suite.same(end, b.position(), "end of a stored message");
			all.add(m);
		}
		return all;
	}

	// --- JSON, and what fastjson writes instead: any value as a map's key ----------

	static final class Json {
		private final String s;
		private int at;

		Json(String text) {
			s = text;
		}

		static String text(Object v) {
			if (v instanceof Map) {
				List<String> entries = new ArrayList<>();
				((Map<?, ?>) v).forEach((k, e) -> entries.add(
					text(String.valueOf(k)) + ":" + text(e)));
				return "{" + String.join(",", entries) + "}";
			}
			if (v instanceof List) {
				List<String> entries = new ArrayList<>();
				((List<?>) v).forEach(e -> entries.add(text(e)));
				return "[" + String.join(",", entries) + "]";
			}
			if (!(v instanceof String))
				return String.valueOf(v);
			StringBuilder quoted = new StringBuilder("\"");
			for (char c : ((String) v).toCharArray())
				if (c < ' ' || c == '"' || c == '\\')
					quoted.append(String.format("\\u%04x", (int) c));
				else
					quoted.append(c);
			return quoted.append('"').toString();
		}

		private char peek() {
			while (Character.isWhitespace(s.charAt(at)))
				at++;
			return s.charAt(at);
		}

		private boolean take(char c) {
			if (peek() != c)
				return false;
			at++;
			return true;
		}

		private void need(char c) {
			Suite.check(take(c), "JSON: no %s at %d of %s", c, at, s);
		}

		Object value() {
			switch (peek()) {
			case '{':
				return map();
			case '[':
				return list();
			case '"':
				return string();
			default:
				return bare();
			}
		}

		private Object map() {
			Map<String, Object> m = new TreeMap<>();
			need('{');
			while (!take('}')) {
				Object key = value();
				need(':');
				m.put(key instanceof String ? (String) key : text(key), value());
				take(',');
			}
			return m;
		}

		private Object list() {
			List<Object> l = new ArrayList<>();
			need('[');
			while (!take(']')) {
				l.add(value());
				take(',');
			}
			return l;
		}

		private String string() {
			StringBuilder t = new StringBuilder();
			need('"');
			while (s.charAt(at) != '"') {
				char c = s.charAt(at++);
				if (c == '\\') {
					c = s.charAt(at++);
					int escape = "nrtbf".indexOf(c);
					if (c == 'u') {
						c = (char) Integer.parseInt(s.substring(at, at + 4), 16);
						at += 4;
					} else if (escape >= 0) {
						c = "\n\r\t\b\f".charAt(escape);
					}
				}
				t.append(c);
			}
			at++;
			return t.toString();
		}

		private Object bare() {
			int from = at;
			while (at < s.length() && ",:}] \n".indexOf(s.charAt(at)) < 0)
				at++;
			String word = s.substring(from, at);
			switch (word) {
			case "null":
				return null;
			case "true":
			case "false":
				return Boolean.valueOf(word);
			default:
				return word.matches("-?\\d+") ? (Number) Long.valueOf(word)
							      : (Number) Double.valueOf(word);
			}
		}
	}

	// The keys of a JSON value with the kinds of their values, sorted.
	@SuppressWarnings("unchecked")
	static String shape(Object v) {
		if (v instanceof Map) {
			List<String> entries = new ArrayList<>();
			((Map<String, Object>) v).forEach((k, e) -> entries.add(k + ":" + shape(e)));
			return "{" + String.join(",", entries) + "}";
		}
		if (v instanceof List)
			return ((List<?>) v).isEmpty() ? "[]" : "[" + shape(((List<?>) v).get(0)) + "]";
		return v == null ? "null" : v instanceof String ? "s"
			: v instanceof Boolean ? "b" : "n";
	}
}
