<?php
// The smallest worker there can be: frames and the two protobuf messages by hand, so that the tests need no package.

final class Request
{
    public string $remoteAddr = '', $protocol = '', $method = '', $uri = '', $rawQuery = '', $uploads = '', $body = '';
    public bool $parsed = false;
    public array $headers = [], $cookies = [], $attributes = [];
}

final class Worker
{
    private $in;
    private $out;

    public function __construct(private string $hello = '')
    {
        $relay = getenv('RR_RELAY') ?: 'pipes';
        if ($relay === 'pipes') {
            $this->in = STDIN;
            $this->out = STDOUT;
        } else {
            $this->in = $this->out = stream_socket_client($relay) ?: exit(1);
        }
        stream_set_read_buffer($this->in, 1 << 16);
        stream_set_write_buffer($this->out, 0);
    }

    /** Waits for a request; null means stop. */
    public function next(): ?Request
    {
        $payload = $this->payload();
        if ($payload === null) {
            return null;
        }
        $request = self::decode($payload[0]);
        $request->body = $payload[1];
        return $request;
    }

    /** @return ?array{string, string} the context and the body of the next request */
    public function payload(): ?array
    {
        while (true) {
            [$flags, $stream, $options, $payload] = $this->read();
            if ($flags & 1) {
                $control = json_decode($payload, true);
                if (isset($control['stop'])) {
                    return null;
                }
                $this->write($this->hello ?: json_encode(['pid' => getmypid()]), 0x01);
                continue;
            }
            if ($options === []) {
                continue; // a STOP or PONG that came too late
            }
            return [substr($payload, 0, $options[0]), substr($payload, $options[0])];
        }
    }

    /** @param array<string, list<string>> $headers */
    public function respond(int $status, string $body = '', array $headers = []): void
    {
        $this->frame(self::head($status, $headers), $body);
    }

    /** One part of a stream; $bits adds to the stream byte. */
    public function chunk(int $status, string $body, array $headers = [], int $bits = 0): void
    {
        $this->frame(self::head($status, $headers), $body, 1 | $bits);
    }

    public function end(string $body = ''): void
    {
        $this->frame('', $body);
    }

    public function error(string $text): void
    {
        $this->write($text, 0x40);
    }

    public function frame(string $context, string $body, int $stream = 0, int $flags = 0x80): void
    {
        $this->write($context . $body, $flags, [strlen($context)], $stream);
    }

    public function write(string $payload, int $flags, array $options = [], int $stream = 0): void
    {
        $first = pack('CCV', 0x10 | (3 + count($options)), $flags, strlen($payload));
        $this->raw($first . pack('VCC', crc32($first), $stream, 0) . ($options ? pack('V*', ...$options) : '') . $payload);
    }

    public function raw(string $bytes): void
    {
        for ($done = 0; $done < strlen($bytes); $done += $n) {
            $n = fwrite($this->out, $done ? substr($bytes, $done) : $bytes);
            if (!$n) {
                exit(1);
            }
        }
    }

    /** @return array{int, int, list<int>, string} flags, stream byte, options, payload */
    public function read(): array
    {
        $header = $this->bytes(12);
        $words = ord($header[0]) & 15;
        $options = $words > 3 ? array_values(unpack('V*', $this->bytes(($words - 3) * 4))) : [];
        return [ord($header[1]), ord($header[10]), $options, $this->bytes(unpack('V', $header, 2)[1])];
    }

    /** Whether something can be read now. */
    public function readable(int $microseconds = 0): bool
    {
        $read = [$this->in];
        $none = null;
        return stream_select($read, $none, $none, 0, $microseconds) > 0;
    }

    private function bytes(int $n): string
    {
        $got = '';
        while (($left = $n - strlen($got)) > 0) {
            $part = fread($this->in, $left);
            if ($part === '' || $part === false) {
                exit(1); // the server is gone
            }
            $got .= $part;
        }
        return $got;
    }

    public static function varint(int $n): string
    {
        for ($out = ''; $n > 127; $n >>= 7) {
            $out .= chr($n & 127 | 128);
        }
        return $out . chr($n);
    }

    public static function field(int $number, string $bytes): string
    {
        return chr($number << 3 | 2) . self::varint(strlen($bytes)) . $bytes;
    }

    public static function head(int $status, array $headers = []): string
    {
        $head = "\x08" . self::varint($status);
        foreach ($headers as $name => $values) {
            $list = '';
            foreach ((array) $values as $value) {
                $list .= self::field(1, $value);
            }
            $head .= self::field(2, self::field(1, $name) . self::field(2, $list));
        }
        return $head;
    }

    private static function decode(string $context): Request
    {
        $r = new Request();
        foreach (self::fields($context) as [$number, $value]) {
            switch ($number) {
                case 1: $r->remoteAddr = $value; break;
                case 2: $r->protocol = $value; break;
                case 3: $r->method = $value; break;
                case 4: $r->uri = $value; break;
                case 5: self::entry($r->headers, $value); break;
                case 6: self::entry($r->cookies, $value); break;
                case 7: $r->rawQuery = $value; break;
                case 8: $r->parsed = (bool) $value; break;
                case 9: $r->uploads = $value; break;
                case 10: self::entry($r->attributes, $value); break;
            }
        }
        return $r;
    }

    private static function entry(array &$map, string $entry): void
    {
        $name = '';
        $values = [];
        foreach (self::fields($entry) as [$number, $value]) {
            if ($number === 1) {
                $name = $value;
            } else {
                foreach (self::fields($value) as [, $v]) {
                    $values[] = $v;
                }
            }
        }
        $map[$name] = $values;
    }

    /** @return list<array{int, string|int}> */
    private static function fields(string $message): array
    {
        $fields = [];
        for ($i = 0; $i < strlen($message);) {
            $tag = self::readVarint($message, $i);
            $n = self::readVarint($message, $i);
            if (($tag & 7) === 0) {
                $fields[] = [$tag >> 3, $n];
                continue;
            }
            $fields[] = [$tag >> 3, substr($message, $i, $n)];
            $i += $n;
        }
        return $fields;
    }

    private static function readVarint(string $s, int &$i): int
    {
        for ($n = 0, $shift = 0; ; $shift += 7) {
            $c = ord($s[$i++]);
            $n |= ($c & 127) << $shift;
            if ($c < 128) {
                return $n;
            }
        }
    }
}
