<?php

declare(strict_types=1);

namespace App\Controller;

use Symfony\Component\EventDispatcher\EventSubscriberInterface;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
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
}
