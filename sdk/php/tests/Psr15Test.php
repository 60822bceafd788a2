<?php

declare(strict_types=1);

namespace Edge\Tests;

use Edge\Frame;
use Edge\Http\Psr7Worker;
use Edge\Http\Worker;
use Edge\Psr15\Worker as Psr15Worker;
use Edge\Relay;
use Edge\Worker as Process;
use Nyholm\Psr7\Factory\Psr17Factory;
use Nyholm\Psr7\Response;
use Nyholm\Psr7\Stream;
use PHPUnit\Framework\TestCase;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\ServerRequestFactoryInterface;
use Psr\Http\Message\ServerRequestInterface;
use Psr\Http\Server\MiddlewareInterface;
use Psr\Http\Server\RequestHandlerInterface;

final class Psr15Test extends TestCase
{
    private const OK = "\x08\xc8\x01";

    private Relay $server;
    private Worker $worker;

    protected function setUp(): void
    {
        [$a, $b] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $this->server = new Relay($a, $a);
        $this->worker = new Worker(new Process(new Relay($b, $b)));
    }

    public function testTheFirstMiddlewareIsOutermost(): void
    {
        $this->request(Pack::request());
        $this->serve(fn (ServerRequestInterface $r): ResponseInterface => new Response(200, [], $r->getAttribute('way')), ['a', 'b']);
        self::assertSame([Frame::PROTO, self::OK . 'ab handler b a'], $this->answer());
    }

    /** A middleware that answers by itself, and one that fails, end nothing but their request. */
    public function testMiddlewareMayAnswerAndFail(): void
    {
        $this->request(Pack::request('GET', 'http://localhost/stop'));
        $this->request(Pack::request('GET', 'http://localhost/fail'));
        $this->request(Pack::request());
        $this->serve(fn (): ResponseInterface => new Response(200, [], ''), ['a']);
        self::assertSame([Frame::PROTO, self::OK . 'stopped'], $this->answer());
        [$flags, $text] = $this->answer();
        self::assertSame(Frame::ERROR, $flags);
        self::assertStringContainsString('DomainException: middleware a failed', $text);
        self::assertSame([Frame::PROTO, self::OK . ' handler a'], $this->answer());
    }

    public function testUploadsAndLargeBodies(): void
    {
        $file = tempnam(sys_get_temp_dir(), 'edge');
        $body = tempnam(sys_get_temp_dir(), 'edge');
        file_put_contents($file, 'content');
        file_put_contents($body, 'spooled');
        $uploads = json_encode(['f' => [['name' => 'n.txt', 'mime' => 'text/plain', 'size' => 7, 'error' => 0, 'tmpName' => $file]]]);
        $this->request(Pack::request('POST', uploads: $uploads, attributes: ['edge.body_file' => $body]));
        $this->serve(function (ServerRequestInterface $r) use ($file): ResponseInterface {
            $upload = $r->getUploadedFiles()['f'][0];
            self::assertSame(['n.txt', 'text/plain', 7, 0], [
                $upload->getClientFilename(), $upload->getClientMediaType(), $upload->getSize(), $upload->getError(),
            ]);
            $upload->moveTo("$file.moved");

            return new Response(200, [], file_get_contents("$file.moved") . ' ' . $r->getBody());
        });
        self::assertSame([Frame::PROTO, self::OK . 'content spooled'], $this->answer());
        self::assertFileDoesNotExist($file);
        unlink("$file.moved");
        unlink($body);
    }

    public function testEarlyHintsAndStream(): void
    {
        $this->request(Pack::request());
        $this->serve(function (ServerRequestInterface $r): ResponseInterface {
            $r->getAttribute('edge.worker')->earlyHints(['Link' => '</a.css>']);
            // A pipe has no size.
            return new Response(200, ['X-A' => 'b'], Stream::create(popen('printf streamed', 'r')));
        });
        self::assertSame([Frame::PROTO, "\x08\x67" . Pack::entry(2, 'Link', '</a.css>')], $this->answer());
        self::assertSame([Frame::PROTO, self::OK . Pack::entry(2, 'X-A', 'b') . 'streamed'], $this->answer());
        self::assertSame([Frame::PROTO, ''], $this->answer());
    }

    /** Factories of another package get what nyholm's objects get in one step. */
    public function testForeignFactories(): void
    {
        $foreign = new class() implements ServerRequestFactoryInterface {
            public function createServerRequest(string $method, $uri, array $serverParams = []): ServerRequestInterface
            {
                return (new Psr17Factory())->createServerRequest($method, $uri, $serverParams);
            }
        };
        $message = Pack::request('PUT', 'https://example.org/a?b=c', ['X-Many' => ['1', '2']], ['id' => '7'], 'b=c');
        $seen = [];
        foreach ([null, $foreign] as $factory) {
            $this->request($message, 'body');
            $this->stop();
            (new Psr7Worker($factory, worker: $this->worker))->serve(function (ServerRequestInterface $r) use (&$seen): ResponseInterface {
                $server = array_diff_key($r->getServerParams(), ['REQUEST_TIME' => 0, 'REQUEST_TIME_FLOAT' => 0]);
                $seen[] = [
                    $r->getMethod(), (string) $r->getUri(), $r->getHeaders(), $r->getCookieParams(), $r->getQueryParams(), (string) $r->getBody(),
                    $r->getProtocolVersion(), $server,
                ];

                return new Response();
            });
        }
        self::assertCount(2, $seen);
        self::assertEquals($seen[0], $seen[1]);
    }

    /**
     * @param callable(ServerRequestInterface): ResponseInterface $handler
     * @param list<string>                                        $names   of middleware
     */
    private function serve(callable $handler, array $names = []): void
    {
        $this->stop();
        $last = new class($handler) implements RequestHandlerInterface {
            public function __construct(private $handler)
            {
            }

            public function handle(ServerRequestInterface $request): ResponseInterface
            {
                $response = ($this->handler)($request);

                return $request->getAttribute('way') === null ? $response : $response->withBody(Stream::create($response->getBody() . ' handler'));
            }
        };
        (new Psr15Worker(new Psr7Worker(worker: $this->worker)))->serve($last, ...array_map(self::middleware(...), $names));
    }

    private static function middleware(string $name): MiddlewareInterface
    {
        return new class($name) implements MiddlewareInterface {
            public function __construct(private string $name)
            {
            }

            public function process(ServerRequestInterface $request, RequestHandlerInterface $handler): ResponseInterface
            {
                switch ($request->getUri()->getPath()) {
                    case '/stop':
                        return new Response(200, [], 'stopped');
                    case '/fail':
                        throw new \DomainException("middleware $this->name failed");
                }
                $response = $handler->handle($request->withAttribute('way', $request->getAttribute('way') . $this->name));

                return $response->withBody(Stream::create("{$response->getBody()} $this->name"));
            }
        };
    }

    private function request(string $message, string $body = ''): void
    {
        $this->server->send(Frame::payload(Frame::PROTO, 0, $message, $body));
    }

    private function stop(): void
    {
        $this->server->send(Frame::plain(Frame::CONTROL | Frame::JSON, '{"stop":true}'));
    }

    /** @return array{int, string} */
    private function answer(): array
    {
        self::assertTrue($this->server->receive());

        return [$this->server->flags, $this->server->payload];
    }
}
