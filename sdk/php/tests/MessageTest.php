<?php

declare(strict_types=1);

namespace Edge\Tests;

use Edge\Exception\ProtocolException;
use Edge\Http\Message;
use PHPUnit\Framework\TestCase;

final class MessageTest extends TestCase
{
    public function testRequest(): void
    {
        $message = Pack::request('POST', 'http://localhost/a?b=c', ['A' => 'x'], ['c' => 'd'], 'b=c', true, '{}', ['e' => 'f']);
        self::assertSame([
            'remoteAddr' => '127.0.0.1', 'protocol' => 'HTTP/1.1', 'method' => 'POST', 'uri' => 'http://localhost/a?b=c',
            'query' => 'b=c', 'uploads' => '{}', 'parsed' => true,
        ], Message::request($message));
        self::assertSame(['A' => ['x']], Message::map($message, Message::HEADERS));
        self::assertSame(['c' => ['d']], Message::map($message, Message::COOKIES));
        self::assertSame(['e' => ['f']], Message::map($message, Message::ATTRIBUTES));
    }

    /** Lengths around the borders of one, two and three bytes, in every place. */
    public function testLengths(): void
    {
        foreach ([0, 1, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16378, 16380, 16383, 16384, 16385, 70000] as $length) {
            $text = str_repeat('x', $length);
            $message = Pack::request('GET', $text, ['A' => $text, $text . 'k' => 'short', 'Z' => 'last']);
            self::assertSame($text, Message::request($message)['uri'], "uri of $length bytes");
            self::assertSame(['A' => [$text], $text . 'k' => ['short'], 'Z' => ['last']], Message::map($message, Message::HEADERS), "header of $length bytes");
        }
    }

    /** What protobuf allows, though no server writes it. */
    public function testUnusualForms(): void
    {
        $value = Pack::field(2, Pack::field(1, 'v'));
        $message = Pack::entry(5, 'Many', 'a', '', 'c')
            . Pack::entry(6, 'cookie', 'between the headers')
            . Pack::field(5, $value . Pack::field(1, 'Value-First'))
            . Pack::field(5, Pack::field(1, 'No-Value'))
            . Pack::field(5, Pack::field(1, 'Empty-Value') . Pack::field(2, ''))
            . Pack::field(5, $value)
            . Pack::entry(5, 'Many', 'd')
            . Pack::field(5, Pack::field(1, 'Twice') . $value . $value)
            . "\x78\x96\x01" . "\x7d1234" . "\x7912345678" . Pack::field(15, 'unknown') . Pack::field(1000, 'unknown')
            . Pack::field(3, 'GET') . Pack::field(3, 'PUT');
        self::assertSame([
            'Many' => ['a', '', 'c', 'd'], 'Value-First' => ['v'], 'No-Value' => [], 'Empty-Value' => [], '' => ['v'], 'Twice' => ['v', 'v'],
        ], Message::map($message, Message::HEADERS));
        self::assertSame('PUT', Message::request($message)['method'], 'the last one counts');
    }

    /** No prefix of a message makes PHP complain, and none that cuts a field is taken for a message. */
    public function testTruncated(): void
    {
        $fields = [
            Pack::field(1, '127.0.0.1'), Pack::field(4, str_repeat('u', 200)), Pack::entry(5, 'Accept', '*/*'),
            Pack::entry(5, 'Cookie', str_repeat('c', 200)), Pack::entry(6, 'a', 'b'), "\x40\x01", Pack::field(100, 'unknown'),
        ];
        $borders = [0];
        foreach ($fields as $field) {
            $borders[] = end($borders) + strlen($field);
        }
        $message = implode('', $fields);
        for ($length = 0; $length <= strlen($message); $length++) {
            $whole = in_array($length, $borders, true);
            foreach ([
                fn () => Message::request(substr($message, 0, $length)),
                fn () => Message::map(substr($message, 0, $length), Message::HEADERS),
            ] as $read) {
                try {
                    $read();
                    $refused = false;
                } catch (ProtocolException) {
                    $refused = true;
                }
                self::assertSame(!$whole, $refused, "the first $length bytes");
            }
        }
    }

    /** Bytes that were changed at random make an exception or a message, never a PHP error, and never a long loop. */
    public function testRandomDamage(): void
    {
        mt_srand(7);
        $good = Pack::request('GET', 'http://localhost/', ['Accept' => '*/*', 'Cookie' => str_repeat('c', 200)], ['a' => 'b'], 'q=1', true);
        for ($i = 0; $i < 5000; $i++) {
            $bad = $good;
            for ($n = mt_rand(1, 4); $n > 0; $n--) {
                $bad[mt_rand(0, strlen($bad) - 1)] = chr(mt_rand(0, 255));
            }
            try {
                Message::request($bad);
                Message::map($bad, Message::HEADERS);
                Message::map($bad, Message::COOKIES);
            } catch (ProtocolException) {
            }
        }
        $this->addToAssertionCount(1);
    }

    public function testResponse(): void
    {
        self::assertSame('08c801', bin2hex(Message::response(200, [])));
        self::assertSame('0867', bin2hex(Message::response(103, [])));
        self::assertSame(
            "\x08\xc8\x01" . Pack::entry(2, 'Content-Type', 'text/plain') . Pack::entry(2, 'Set-Cookie', 'a=1', 'b=2') . Pack::entry(2, 'Content-Length', '12'),
            Message::response(200, ['Content-Type' => 'text/plain', 'Set-Cookie' => ['a=1', 'b=2'], 'Content-Length' => 12]),
        );
        foreach ([1, 120, 127, 128, 20000] as $length) {
            $text = str_repeat('x', $length);
            self::assertSame("\x08\xc8\x01" . Pack::entry(2, $text, $text), Message::response(200, [$text => $text]), "$length bytes");
        }
    }
}
