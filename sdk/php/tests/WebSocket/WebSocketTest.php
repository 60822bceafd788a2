<?php

declare(strict_types=1);

namespace Edge\Tests\WebSocket;

use Edge\Exception\WebSocketException;
use Edge\WebSocket;
use PHPUnit\Framework\TestCase;

require_once __DIR__ . '/Client.php';

/** Connects to a whole server whose application is tests/workers/websocket.php; see websocket_test.go. */
final class WebSocketTest extends TestCase
{
    private WebSocket $chat;

    protected function setUp(): void
    {
        if (getenv('EDGE_TEST_HTTP') === false) {
            self::markTestSkipped('EDGE_TEST_HTTP is not set: run "go test ./sdk/php"');
        }
        $this->chat = new WebSocket('chat');
    }

    /** @return array{Client, string} a connected client and its id */
    private function connect(string $query = '', string $headers = ''): array
    {
        $client = new Client(getenv('EDGE_TEST_HTTP'), "/chat?$query", $headers);
        self::assertSame(101, $client->status, $client->answer);
        self::assertSame('one', $client->next());
        self::assertSame('', $client->next());

        return [$client, json_decode($client->next(), true)['id']];
    }

    public function testHandler(): void
    {
        [$c, $id] = $this->connect('user=ann%C3%A9', "Sec-WebSocket-Protocol: v1, v2\r\n");
        self::assertStringContainsStringIgnoringCase('sec-websocket-protocol: v2', $c->answer);
        $c->send('who');
        self::assertSame('["anné","dark red & \"green\" ü","",""]', $c->next());
        foreach ([1, 2, 3] as $n) {
            $c->send('count');
            self::assertSame((string) $n, $c->next());
        }
        $c->send("\x00\x01\xff", true);
        self::assertSame('binary ff0100', $c->next());
        $c->send('', true);
        self::assertSame('binary ', $c->next(), 'nothing, but of bytes');
        $c->send('fail');
        $c->send('late');
        self::assertSame('this is for connect, not for message', $c->next(), 'the connection outlives a failure');

        [$other] = $this->connect('user=bert');
        $c->send('order');
        self::assertSame(['a', 'b', 'binary ff', 'd'], [$c->next(), $c->next(), $c->next(), $c->next()]);
        self::assertSame(['b', 'to the others'], [$other->next(), $other->next()]);

        self::assertSame($id, $this->chat->connections('anné')[0]['id']);
        self::assertSame('3', $this->chat->connection($id)['attributes']['count']);
        $c->send('forget');
        self::assertSame('done', $c->next());
        $c->send('who');
        self::assertSame('["anné","","3",""]', $c->next());
        self::assertArrayNotHasKey('channels', $this->chat->connection($id));

        $c->send('bye');
        self::assertSame(['goodbye', 'close 4001 as you wish'], [$c->next(), $c->next()]);
        $c->close(4001);
        $other->close(1000);
        self::eventually(fn () => count($this->chat->history('ends')) >= 2);
        self::assertContains('anné 4001 as you wish 3', $this->chat->history('ends'));
    }

    public function testRefusal(): void
    {
        $c = new Client(getenv('EDGE_TEST_HTTP'), '/chat?refuse=402');
        self::assertSame(402, $c->status);
        self::assertStringContainsString('X-Why: because', $c->answer);
        $c = new Client(getenv('EDGE_TEST_HTTP'), '/chat?refuse=200');
        self::assertSame(500, $c->status, 'a refusal that accepts is a mistake of the application');
    }

    public function testRequestsThatAreNoEvents(): void
    {
        self::assertSame('no event: /page', file_get_contents('http://' . getenv('EDGE_TEST_HTTP') . '/page'));
    }

    public function testClient(): void
    {
        [$a, $id] = $this->connect('user=carl');
        [$b] = $this->connect('user=dora');
        self::assertTrue($this->chat->send($id, 'to one'));
        self::assertTrue($this->chat->send($id, "\x00\xff", binary: true));
        self::assertTrue($this->chat->send($id, '', binary: true));
        self::assertSame(['to one', 'binary 00ff', 'binary '], [$a->next(), $a->next(), $a->next()]);
        self::eventually(function () use ($b) {
            $this->chat->sendUser('dora', 'to dora');

            return $b->next() === 'to dora';
        });

        self::assertTrue($this->chat->subscribe($id, 'news'));
        self::assertSame(['news' => 1], $this->chat->channels('new'));
        self::assertSame(['carl' => 'about carl', 'dora' => 'about dora'], $this->members('hall'));
        $this->chat->publish('news', 'first', keep: 2);
        $this->chat->publish('news', 'second', keep: 2, keepFor: 60);
        $this->chat->publish('news', "\xff", binary: true, except: $id, keep: 2);
        $this->chat->publish('news', 'not remembered');
        self::assertSame(['first', 'second', 'not remembered'], [$a->next(), $a->next(), $a->next()]);
        self::assertSame(['second', "\xff"], $this->chat->history('news'));
        self::assertSame(["\xff"], $this->chat->history('news', 1));
        self::assertSame([], $this->chat->history('never'));
        self::assertTrue($this->chat->unsubscribe($id, 'news'));
        self::assertSame([], $this->chat->channels('new'));

        self::assertTrue($this->chat->set($id, ['a' => 'b', 'colour' => '']));
        self::assertSame(['a' => 'b'], $this->chat->connection($id)['attributes']);
        self::assertTrue($this->chat->set($id, []));
        self::assertSame('carl', $this->chat->connection($id)['user']);
        self::assertSame('127.0.0.1', $this->chat->connection($id)['remote']);

        self::assertTrue($this->chat->close($id, 4002, 'enough'));
        self::assertSame('close 4002 enough', $a->next());
        $a->close(4002);
        self::eventually(fn () => $this->chat->connection($id) === null);
        self::assertSame(['dora' => 'about dora'], $this->members('hall'));
        foreach ([
            $this->chat->send($id, 'x'), $this->chat->subscribe($id, 'x'), $this->chat->unsubscribe($id, 'x'), $this->chat->set($id, ['a' => 'b']),
            $this->chat->close($id),
        ] as $done) {
            self::assertFalse($done, 'the connection has gone');
        }
        $this->chat->closeUser('dora');
        self::assertSame('close 1000 ', $b->next());
        self::assertSame([], (new WebSocket())->connections('carl'), 'the one application needs no name');
    }

    /** @return array<array-key, string> */
    private function members(string $channel): array
    {
        $members = $this->chat->members($channel);
        ksort($members);

        return $members;
    }

    /** @dataProvider mistakes */
    public function testMistakes(callable $call, string $text): void
    {
        try {
            $call($this->chat, new WebSocket('nobody'));
            self::fail('no exception');
        } catch (WebSocketException | \InvalidArgumentException $e) {
            self::assertStringContainsString($text, $e->getMessage());
        }
    }

    public function mistakes(): array
    {
        $there = '0000000000000001';

        return [
            [fn ($c, $nobody) => $nobody->connections(), 'there is no "nobody" in ws.raw, which has'],
            [fn ($c) => $c->send('7', 'x'), '16 hexadecimal digits'],
            [fn ($c) => $c->sendUser('', 'x'), 'must not be empty'],
            [fn ($c) => $c->publish('', 'x'), 'channel: must be UTF-8 of 1 to 256 bytes'],
            [fn ($c) => $c->publish(str_repeat('x', 257), 'x'), 'channel: must be UTF-8 of 1 to 256 bytes'],
            [fn ($c) => $c->publish('x', "\xff"), 'must be UTF-8'],
            [fn ($c) => $c->publish('x', 'x', keep: -1), 'keep: must be between 0 and 10000'],
            [fn ($c) => $c->publish('x', 'x', except: 'me'), 'except:'],
            [fn ($c) => $c->close($there, 1005), 'code: must be 1000'],
            [fn ($c) => $c->close($there, 5000), 'code: must be 1000'],
        ];
    }

    private static function eventually(callable $done): void
    {
        for ($end = microtime(true) + 20; !$done(); usleep(10_000)) {
            self::assertLessThan($end, microtime(true), 'not within 20 seconds');
        }
    }
}
