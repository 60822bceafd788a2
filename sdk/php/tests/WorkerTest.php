<?php

declare(strict_types=1);

namespace Edge\Tests;

use Edge\Frame;
use Edge\Http\Psr7Worker;
use Edge\Http\Request;
use Edge\Http\Response;
use Edge\Http\Worker;
use Edge\Relay;
use Edge\Worker as Process;
use Nyholm\Psr7\Factory\Psr17Factory;
use Nyholm\Psr7\Response as PsrResponse;
use Nyholm\Psr7\Stream;
use Nyholm\Psr7\Uri;
use PHPUnit\Framework\TestCase;
use Psr\Http\Message\ServerRequestInterface;

/** Plays the server over a pair of sockets: what it will say is written before the worker runs. */
final class WorkerTest extends TestCase
{
    private const STOP = '{"stop":true}';

    private Relay $server;
    private Worker $worker;
    private Process $process;

    protected function setUp(): void
    {
        [$a, $b] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $this->server = new Relay($a, $a);
        $this->process = new Process(new Relay($b, $b));
        $this->worker = new Worker($this->process);
    }

    public function testHandshakeHelloStop(): void
    {
        $this->server->send(Frame::plain(Frame::CONTROL | Frame::JSON, '{"pid":1}'));
        $this->request('GET', 'http://localhost/world', 'body');
        $this->stopWorker();
        $this->worker->serve(fn (Request $r): Response => Response::text("hello $r->path $r->body"));

        $this->server->receive();
        self::assertSame(Frame::CONTROL, $this->server->flags);
        self::assertSame(['pid' => getmypid(), 'edge' => ['v' => 1, 'features' => ['body-file', 'one-answer', 'native-2', 'ahead']]], json_decode($this->server->payload, true));
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01" . Pack::entry(2, 'Content-Type', 'text/plain; charset=utf-8'), 'hello /world body');
    }

    public function testExceptionsKeepTheWorker(): void
    {
        $this->request('GET', 'http://localhost/1');
        $this->request('GET', 'http://localhost/2');
        $this->stopWorker();
        $this->worker->serve(fn (Request $r): Response => $r->path === '/1' ? throw new \DomainException('boom') : new Response(204));

        $this->server->receive();
        self::assertSame(Frame::ERROR, $this->server->flags);
        self::assertStringContainsString('DomainException: boom', $this->server->payload);
        $this->assertFrame(Frame::PROTO, 0, "\x08\xcc\x01", '');
    }

    /** @return iterable<string, array{callable(): mixed}> */
    public function mistakes(): iterable
    {
        yield 'no response' => [fn () => null];
        yield 'status' => [fn () => new Response(99)];
        yield 'informational status' => [fn () => new Response(103)];
        yield 'status beyond' => [fn () => new Response(600)];
        yield 'type error' => [fn () => strlen([])];
        yield 'generator' => [fn () => new Response(200, [], (function () {
            throw new \DomainException('before the first piece');
            yield '';
        })())];
    }

    /** @dataProvider mistakes */
    public function testMistakesAreErrors(callable $handler): void
    {
        $this->request();
        $this->request();
        $this->stopWorker();
        $this->worker->serve($handler);
        for ($i = 0; $i < 2; $i++) {
            self::assertTrue($this->server->receive());
            self::assertSame(Frame::ERROR, $this->server->flags);
        }
    }

    /** A second answer would be taken for that of the next request. */
    public function testSecondAnswerIsRefused(): void
    {
        $this->request();
        $this->request();
        $this->stopWorker();
        $again = [
            fn () => $this->worker->send(200, [], 'second'),
            fn () => $this->worker->send(200, [], ['second', 'in pieces']),
            fn () => $this->worker->earlyHints(['Link' => '</late.css>']),
        ];
        while ($this->worker->wait() !== null) {
            $this->worker->send(200, [], 'first');
            foreach ($again as $answer) {
                try {
                    $answer();
                    self::fail('a second answer was sent');
                } catch (\LogicException $e) {
                    self::assertStringContainsString('answered already', $e->getMessage());
                }
            }
        }
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", 'first');
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", 'first');
        self::assertFalse($this->server->readable());
    }

    /** A worker that asks to stop after an answer leaves the next request to another one. */
    public function testStopAfterAnswer(): void
    {
        $this->request();
        $this->request();
        self::assertNotNull($this->worker->wait());
        $this->worker->send(200, [], 'first');
        $this->process->stop();
        self::assertNull($this->worker->wait());
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", 'first');
        $this->assertFrame(0, 0, self::STOP, '');
        self::assertFalse($this->server->readable());
    }

    public function testStream(): void
    {
        $this->request();
        $this->stopWorker();
        $this->worker->serve(fn (): Response => new Response(200, [], ['a', '', 'b']));

        $this->assertFrame(Frame::PROTO, Frame::STREAM, "\x08\xc8\x01", 'a');
        $this->assertFrame(Frame::PROTO, Frame::STREAM, '', '');
        $this->assertFrame(Frame::PROTO, Frame::STREAM, '', 'b');
        $this->assertFrame(Frame::PROTO, 0, '', '');
    }

    public function testEmptyStream(): void
    {
        $this->request();
        $this->stopWorker();
        $this->worker->serve(fn (): Response => new Response(200, [], []));
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", '');
    }

    /** Every eighth piece asks the server; a request that came early waits for its turn. */
    public function testPing(): void
    {
        $this->request('GET', 'http://localhost/stream');
        $this->request('GET', 'http://localhost/next');
        $pieces = function () {
            for ($i = 1; $i <= 17; $i++) {
                if ($i % 8 === 0) {
                    $this->pong();
                }
                yield 'x';
            }
            $this->stopWorker();
        };
        $this->worker->serve(fn (Request $r): Response => new Response(200, [], $r->path === '/next' ? 'next' : $pieces()));

        for ($i = 1; $i <= 17; $i++) {
            $this->assertFrame(Frame::PROTO, $i % 8 === 0 ? Frame::STREAM | Frame::PING : Frame::STREAM, $i === 1 ? "\x08\xc8\x01" : '', 'x');
        }
        $this->assertFrame(Frame::PROTO, 0, '', '');
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", 'next');
    }

    /** A client that left ends the generator, whose finally block runs, and the worker goes on. */
    public function testStreamStop(): void
    {
        $this->request('GET', 'http://localhost/stream');
        $closed = false;
        $sent = 0;
        $endless = function () use (&$closed, &$sent) {
            try {
                while (true) {
                    if (++$sent === 3) {
                        $this->server->send("\x13\0\0\0\0\0\x96\xd1\x80\x34\x02\0");
                    }
                    yield 'x';
                }
            } finally {
                $closed = true;
                $this->request('GET', 'http://localhost/next');
                $this->stopWorker();
            }
        };
        $this->worker->serve(fn (Request $r): Response => new Response(200, [], $r->path === '/next' ? 'next' : $endless()));

        self::assertTrue($closed);
        self::assertSame(3, $sent);
        for ($i = 0; $i < 3; $i++) {
            $this->server->receive();
            self::assertSame(Frame::STREAM, $this->server->stream);
        }
        $this->assertFrame(0, 0, '', '');
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", 'next');
    }

    /** What belongs to a stream that is over is no request. */
    public function testLateStopAndPongAreSkipped(): void
    {
        $this->pong();
        $this->server->send("\x13\0\0\0\0\0\x96\xd1\x80\x34\x02\0");
        $this->request();
        $this->stopWorker();
        $this->worker->serve(fn (): Response => new Response());
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", '');
    }

    public function testEarlyHints(): void
    {
        $this->request();
        $this->stopWorker();
        $this->worker->serve(function (Request $r, Worker $worker): Response {
            $worker->earlyHints(['Link' => '</app.css>; rel=preload']);

            return new Response();
        });
        $this->assertFrame(Frame::PROTO, Frame::STREAM, "\x08\x67" . Pack::entry(2, 'Link', '</app.css>; rel=preload'), '');
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", '');
    }

    /** A loop of one's own. */
    public function testWaitAndSend(): void
    {
        $this->request('GET', 'http://localhost/a');
        $this->request('GET', 'http://localhost/b');
        $this->stopWorker();
        while (($request = $this->worker->wait()) !== null) {
            $request->path === '/a' ? $this->worker->send(200, [], 'ok') : $this->worker->error('no');
        }
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc8\x01", 'ok');
        $this->server->receive();
        self::assertSame([Frame::ERROR, 'no'], [$this->server->flags, $this->server->payload]);
    }

    public function testPsr7(): void
    {
        $this->server->send(Frame::payload(Frame::PROTO, 0, Pack::request(
            'POST',
            'https://example.com/a?b=c',
            ['X-Many' => ['1', '2']],
            ['id' => '7'],
            'b=c',
            true,
            attributes: ['user' => 'ada'],
        ), '{"field":"value"}'));
        $this->stopWorker();
        (new Psr7Worker(worker: $this->worker))->serve(function (ServerRequestInterface $r): PsrResponse {
            self::assertSame('POST', $r->getMethod());
            self::assertSame('https://example.com/a?b=c', (string) $r->getUri());
            self::assertSame('example.com', $r->getHeaderLine('Host'));
            self::assertSame(['1', '2'], $r->getHeader('x-many'));
            self::assertSame(['id' => '7'], $r->getCookieParams());
            self::assertSame(['b' => 'c'], $r->getQueryParams());
            self::assertSame(['field' => 'value'], $r->getParsedBody());
            self::assertSame('ada', $r->getAttribute('user'));
            self::assertSame('1.1', $r->getProtocolVersion());
            self::assertSame('127.0.0.1', $r->getServerParams()['REMOTE_ADDR']);
            self::assertSame('on', $r->getServerParams()['HTTPS']);

            return new PsrResponse(201, ['X-A' => ['b', 'c']], 'made');
        });
        $this->assertFrame(Frame::PROTO, 0, "\x08\xc9\x01" . Pack::entry(2, 'X-A', 'b', 'c'), 'made');
    }

    /** A request that is made as it is looked at says what one says that was made whole, before and after it is changed. */
    public function testPsr7IsLazyAndTheSame(): void
    {
        $factory = new class extends Psr17Factory {
        };
        foreach ([['', ''], ['text', ''], ['{"a":{"b":"1"}}', 'form']] as [$body, $kind]) {
            $seen = [];
            foreach ([new Psr7Worker(worker: $this->worker), new Psr7Worker($factory, $factory, $factory, $this->worker)] as $worker) {
                $this->server->send(Frame::payload(Frame::PROTO, 0, Pack::request(
                    'POST',
                    'https://Example.com:8443/a%20b?b=c&d[]=e',
                    ['X-Many' => ['1', '2'], 'Accept' => ['*/*'], '7' => ['seven']],
                    ['id' => '7'],
                    'b=c&d[]=e',
                    $kind === 'form',
                    attributes: ['user' => 'ada', 'empty' => ''],
                ), $body));
                $request = $worker->waitRequest();
                self::assertInstanceOf(ServerRequestInterface::class, $request);
                $changed = [
                    $request, $request->withAttribute('more', null), $request->withoutAttribute('user'), $request->withHeader('x-many', '3'),
                    $request->withAddedHeader('x-many', '3'), $request->withoutHeader('accept'), $request->withMethod('PUT'),
                    $request->withUri(new Uri('http://other/')), $request->withQueryParams([]), $request->withParsedBody(null),
                    $request->withCookieParams([]), $request->withRequestTarget('*'), $request->withProtocolVersion('2'),
                    $request->withUploadedFiles([]), $request->withBody(Stream::create('other')), $request->withAttribute('a', 1)->withHeader('b', '2'),
                ];
                $seen[] = \array_map(self::describe(...), $changed);
                $request->getBody()->seek((int) ($body !== '' && $kind === ''));
                self::assertSame($request->getBody()->tell(), $request->withAttribute('more', 1)->getBody()->tell(), 'a copy has the same body');
                $worker->respond(new PsrResponse(204));
                self::assertTrue($this->server->receive());
            }
            self::assertEquals($seen[1], $seen[0]);
        }
    }

    /** @return array<string, mixed> everything that a request says */
    private static function describe(ServerRequestInterface $r): array
    {
        return [
            $r->getMethod(), (string) $r->getUri(), $r->getRequestTarget(), $r->getProtocolVersion(), $r->getHeaders(), $r->getHeader('X-MANY'),
            $r->getHeaderLine('x-many'), $r->getHeader('none'), $r->getHeaderLine('none'), $r->hasHeader('host'), $r->hasHeader('none'),
            $r->getHeaderLine('7'), (string) $r->getBody(), \array_diff_key($r->getServerParams(), ['REQUEST_TIME' => 1, 'REQUEST_TIME_FLOAT' => 1]),
            $r->getCookieParams(), $r->getQueryParams(), $r->getUploadedFiles(), $r->getParsedBody(), \array_keys($r->getAttributes()),
            $r->getAttribute('user'), $r->getAttribute('user', 'nobody'), $r->getAttribute('more', 'default'), $r->getAttribute('empty'),
        ];
    }

    /** Every kind of answer has the number of its request; a request that comes during a stream goes back with its own. */
    public function testNumbers(): void
    {
        foreach ([7, 8] as $number) {
            $this->server->send(Frame::payload(Frame::PROTO, 0, Pack::request(), '', $number));
        }
        self::assertNotNull($this->worker->wait());
        $this->worker->send(200, [], ['piece']);
        $this->server->send(Frame::payload(Frame::PROTO, 0, Pack::request(), '', 255));
        self::assertNotNull($this->worker->wait());
        $this->worker->error('failed');
        $this->server->send(Frame::payload(Frame::PROTO, 0, Pack::request(), '', 1));
        self::assertNotNull($this->worker->wait());
        $this->process->stop();

        $seen = [];
        for ($i = 0; $i < 5; ++$i) {
            $this->server->receive();
            $seen[] = [$this->server->number, $this->server->flags, $this->server->stream];
        }
        self::assertFalse($this->server->readable());
        self::assertSame([
            [7, Frame::PROTO, Frame::STREAM], [8, Frame::CONTROL, 0], [7, Frame::PROTO, 0], [255, Frame::ERROR, 0], [1, 0, 0],
        ], $seen);
    }

    private function request(string $method = 'GET', string $uri = 'http://localhost/', string $body = ''): void
    {
        $this->server->send(Frame::payload(Frame::PROTO, 0, Pack::request($method, $uri), $body));
    }

    private function pong(): void
    {
        $this->server->send("\x13\0\0\0\0\0\x96\xd1\x80\x34\x08\0");
    }

    private function stopWorker(): void
    {
        $this->server->send(Frame::plain(Frame::CONTROL | Frame::JSON, self::STOP));
    }

    private function assertFrame(int $flags, int $stream, string $context, string $body): void
    {
        self::assertTrue($this->server->receive());
        self::assertSame(
            [$flags, $stream, [strlen($context)], $context . $body],
            [$this->server->flags, $this->server->stream, $this->server->options, $this->server->payload],
        );
    }
}
