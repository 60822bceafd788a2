<?php

declare(strict_types=1);

namespace App\Controller;

use Symfony\Component\EventDispatcher\EventSubscriberInterface;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpFoundation\StreamedResponse;
use Symfony\Component\HttpKernel\Attribute\AsController;
use Symfony\Component\HttpKernel\Event\TerminateEvent;
use Symfony\Component\HttpKernel\KernelEvents;

/** What only the tests ask for. */
#[AsController]
final class TestController implements EventSubscriberInterface
{
    public static function getSubscribedEvents(): array
    {
        return [KernelEvents::TERMINATE => 'onTerminate'];
    }

    public function after(): Response
    {
        return new Response('answered');
    }

    /** Works after the response, until somebody who has seen the response makes a file. */
    public function onTerminate(TerminateEvent $event): void
    {
        $go = $event->getRequest()->query->get('go');
        if (!\is_string($go)) {
            return;
        }
        for ($deadline = time() + 20; !is_file($go) && time() < $deadline; clearstatcache()) {
            usleep(5000);
        }
        file_put_contents("$go.done", is_file($go) ? 'went on' : 'waited in vain');
    }

    public function hints(Request $request): Response
    {
        $request->attributes->get('edge.worker')?->earlyHints(['Link' => '</app.css>; rel=preload; as=style']);

        return new Response('hinted');
    }

    public function die(): never
    {
        exit(3);
    }

    /** Leaves an output buffer open and a limit of its own behind. */
    public function litter(): Response
    {
        set_time_limit(1);
        ob_start();
        echo "litter\n";

        return new Response('littered');
    }

    public function burn(): Response
    {
        // More than the second that litter() allows: the limit counts the processor's time.
        for ($deadline = microtime(true) + 2.5; microtime(true) < $deadline;) {
        }

        return new Response('burnt');
    }

    /** PHP's own session, which nobody closes. */
    public function native(Request $request): Response
    {
        // PHP reads the cookie only once in a process.
        session_id($request->query->get('id', ''));
        session_start();
        $_SESSION['secret'] = ($_SESSION['secret'] ?? 0) + 1;

        return new JsonResponse(['secret' => $_SESSION['secret'], 'id' => session_id()]);
    }

    public function memory(): Response
    {
        gc_collect_cycles();

        return new JsonResponse(['bytes' => memory_get_usage(), 'pid' => getmypid()]);
    }

    /** Says what PHP is like, and changes it. */
    public function stain(): Response
    {
        $error = set_error_handler(null);
        restore_error_handler();
        $seen = [
            'zone' => date_default_timezone_get(), 'reporting' => error_reporting(), 'memory' => ini_get('memory_limit'), 'precision' => ini_get('precision'),
            'folder' => getcwd(), 'umask' => umask(), 'number' => sprintf('%.1f', 1.5), 'encoding' => mb_internal_encoding(),
            'handler' => $error instanceof \Closure, 'env' => $_SERVER['STAIN'] ?? $_GET['stain'] ?? null,
        ];
        date_default_timezone_set('Asia/Tokyo');
        error_reporting(0);
        ini_set('memory_limit', '300M');
        ini_set('precision', '3');
        chdir('/');
        umask(0777);
        mb_internal_encoding('ISO-8859-1');
        set_error_handler(static fn (): bool => true);
        set_error_handler(static fn (): bool => true);
        $_SERVER['STAIN'] = $_GET['stain'] = 'left';

        return new JsonResponse($seen);
    }

    /** Ends all buffers, as scripts do before they print, and prints past everything. */
    public function unbuffered(Request $request): Response
    {
        while (ob_get_level()) {
            ob_end_clean();
        }
        echo "echoed before\n";
        file_put_contents('php://stdout', "written to stdout\n");
        system('echo a child');
        if (!$request->query->has('lines')) {
            return new Response('answered');
        }
        $lines = $request->query->getInt('lines');

        return new StreamedResponse(static function () use ($lines): void {
            while (ob_get_level()) {
                ob_end_clean();
            }
            for ($line = 1; $line <= $lines || $lines === 0; ++$line) {
                echo "line $line\n";
                flush();
                usleep(20000);
            }
        }, 200, ['Content-Type' => 'text/plain']);
    }
}
